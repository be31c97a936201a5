"""ScanNet (Dai et al., CVPR 2017) to the processed layout, from .sens files or from the extracted layout.

    python -m data_process.scannet raw=DIR output=DIR [key=value ...]

As Uni3R prepares it: every 10th frame, the depth camera's intrinsics for everything, colour scaled to the size of the
depth image (640 x 480), frames without a finite pose dropped. Colour and depth are registered in ScanNet.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from common.command.launch import launch
from common.data.scenes.scene_folder import MILLIMETRES
from common.errors import ConfigurationError
from common.ranges import Count
from data_process.errors import BadFrameError, SceneError
from data_process.formats.frame_files import decode_color, decode_plane, metres, read_bytes, read_matrix, read_plane
from data_process.formats.scannet_labels import SCANNET_LICENCE, TABLE_NAME, UNLABELLED, LabelTable
from data_process.formats.sens import SensFile, SensTruncatedError
from data_process.writing.command import process_verb, run
from data_process.writing.runner import StridedSettings
from data_process.writing.scene_writer import SceneWriter

_PLACES = ("", "*/", "scans*/*/")
_LABELS = "label-filt"


@dataclass(frozen=True, kw_only=True)
class ScanNetSettings(StridedSettings):
    """Settings of configs/process/scannet.yaml."""

    every: Count = 10
    labels: bool = True
    """Write semantic labels where a scan has them (<scan>_2d-label-filt.zip or label-filt/)."""
    label_table: str | None = None
    """scannetv2-labels.combined.tsv; null: the one in the raw folder."""


@dataclass(frozen=True)
class ScanNetScene:
    """A scan: a .sens file, or a folder with color, depth, pose and intrinsic."""

    name: str
    folder: Path
    sens: Path | None
    table: LabelTable | None


@dataclass(frozen=True)
class _Frame:
    """A frame whose images are decoded on demand."""

    number: int
    camera_to_world: NDArray[np.float64]
    color: Callable[[], NDArray[np.uint8]]
    depth: Callable[[], NDArray[np.float32]]
    time: float | None = None


def find_scenes(settings: ScanNetSettings) -> list[ScanNetScene]:
    """All scans below the raw folder: ``<scan>/``, ``scans/<scan>/`` and ``scans_test/<scan>/``.

    Raises:
        ConfigurationError: there are labels, but no label table.
    """
    raw = settings.raw_folder()
    extracted = {path.parents[1].name: path.parents[1] for path in _glob(raw, "intrinsic/intrinsic_depth.txt")}
    sens = {path.stem: path for path in _glob(raw, "*.sens")}
    table = None
    places = {name: sens[name].parent if name in sens else extracted[name] for name in sorted({*extracted, *sens})}
    if settings.labels and any(_label_source(folder, name) for name, folder in places.items()):
        path = Path(settings.label_table or raw / TABLE_NAME)
        if not path.is_file():
            raise ConfigurationError(f"label_table: {path} is missing; give label_table=FILE, or labels=false")
        table = LabelTable(path)
    return [ScanNetScene(name, folder, sens.get(name), table) for name, folder in places.items()]


def convert(scene: ScanNetScene, writer: SceneWriter, settings: ScanNetSettings) -> None:
    """Add the frames of a scan."""
    writer.attributes |= {"number_step": settings.every}
    labels = _Labels(scene) if scene.table is not None and _label_source(scene.folder, scene.name) else None
    if scene.sens is not None:
        with SensFile(scene.sens) as file:
            writer.attributes |= {"sensor": file.header.sensor}
            writer.depth_scale = file.header.depth_scale
            _add_frames(_frames_of_sens(file, writer, settings.every), file.header.intrinsics_depth, labels, writer)
    else:
        try:
            intrinsics = read_matrix(scene.folder / "intrinsic/intrinsic_depth.txt", (4, 4), "intrinsics")[:3, :3]
        except BadFrameError as error:
            raise SceneError(f"{scene.folder}/intrinsic/intrinsic_depth.txt: {error}") from error
        _add_frames(_frames_of_folder(scene.folder, writer, settings.every), intrinsics, labels, writer)


def _add_frames(frames: Iterator[_Frame], intrinsics: NDArray, labels: _Labels | None, writer: SceneWriter) -> None:
    for frame in frames:
        with writer.dropping(frame.number):
            if not np.isfinite(frame.camera_to_world).all():
                raise BadFrameError("pose is not finite")  # checked before anything is decoded
            depth = frame.depth()
            size = depth.shape[::-1]
            color = cv2.resize(frame.color(), size, interpolation=cv2.INTER_AREA)
            label = labels.read(frame.number, depth.shape) if labels else None
            writer.add(frame.number, color, depth, frame.camera_to_world, intrinsics, label=label, timestamp=frame.time)


def _frames_of_sens(file: SensFile, writer: SceneWriter, every: int) -> Iterator[_Frame]:
    try:
        for frame in file.frames(every):
            depth = partial(_sens_depth, frame.decode_depth, file.header.depth_scale)
            yield _Frame(frame.number, frame.camera_to_world, frame.decode_color, depth, frame.time_color)
    except SensTruncatedError as error:
        first = -(-error.number // every) * every
        for number in range(first, file.header.num_frames, every):
            writer.drop(number, "the .sens file ends early")


def _sens_depth(decode: Callable[[], NDArray[np.uint16]], depth_scale: float) -> NDArray[np.float32]:
    return metres(decode(), depth_scale)


def _frames_of_folder(folder: Path, writer: SceneWriter, every: int) -> Iterator[_Frame]:
    """Frames whose number is a multiple of `every`; the numbers are those of the colour and depth images."""
    stems = {path.stem for kind in ("color/*.jpg", "depth/*.png") for path in folder.glob(kind)}
    for stem in sorted((stem for stem in stems if stem.isdecimal() and int(stem) % every == 0), key=int):
        with writer.dropping(int(stem)):
            yield _Frame(
                int(stem),
                read_matrix(folder / f"pose/{stem}.txt", (4, 4), "pose"),
                partial(_folder_color, folder / f"color/{stem}.jpg"),
                partial(_folder_depth, folder / f"depth/{stem}.png"),
            )


def _folder_color(path: Path) -> NDArray[np.uint8]:
    return decode_color(read_bytes(path, "color image"))


def _folder_depth(path: Path) -> NDArray[np.float32]:
    return metres(read_plane(path, "depth image"), MILLIMETRES)


class _Labels:
    """Label images of a scan, from its zip file or its folder."""

    def __init__(self, scene: ScanNetScene) -> None:
        source = _label_source(scene.folder, scene.name)
        assert source is not None and scene.table is not None
        self._table, self._source = scene.table, source
        self._zip: zipfile.ZipFile | None = None
        if source.suffix == ".zip":
            try:
                self._zip = zipfile.ZipFile(source)
            except (OSError, zipfile.BadZipFile) as error:
                raise SceneError(f"{source}: damaged ({error})") from error
            self._names = {PurePosixPath(name).stem: name for name in self._zip.namelist() if name.endswith(".png")}

    def read(self, number: int, size: tuple[int, ...]) -> NDArray[np.uint8]:
        """Classes of a frame, scaled to (height, width); all unlabelled where there is no image."""
        try:
            raw = decode_plane(self._content(number), "label image")
        except (FileNotFoundError, KeyError):
            return np.full(size, UNLABELLED, np.uint8)
        return np.asarray(cv2.resize(self._table(raw), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)

    def _content(self, number: int) -> bytes:
        if self._zip is None:
            return (self._source / f"{number}.png").read_bytes()
        try:
            return self._zip.read(self._names[str(number)])
        except zipfile.BadZipFile:
            raise BadFrameError("damaged label image") from None


def _glob(raw: Path, pattern: str) -> list[Path]:
    return [path for place in _PLACES for path in sorted(raw.glob(place + pattern))]


def _label_source(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}_2d-{_LABELS}.zip", folder / _LABELS)
    return next((path for path in candidates if path.exists()), None)


def process(settings: ScanNetSettings) -> None:
    """Convert the raw data, or verify the output."""
    knobs = settings.own("label_table")
    run("scannet", SCANNET_LICENCE, find_scenes, convert, settings, knobs)


VERB = process_verb(
    "scannet",
    ScanNetSettings,
    process,
    "ScanNet to the processed layout. raw holds <scan>/<scan>.sens, or <scan>/{color,depth,pose,intrinsic}/ (also "
    "below scans/ and scans_test/), and for labels <scan>/<scan>_2d-label-filt.zip or <scan>/label-filt/, with "
    "scannetv2-labels.combined.tsv beside the scans.",
)

if __name__ == "__main__":
    launch(VERB)
