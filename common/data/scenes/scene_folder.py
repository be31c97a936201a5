"""Posed RGB-D scenes on disk, as `data_process` writes them.

A scene folder holds color/<frame>.jpg, depth/<frame>.png (16 bit, 0 invalid), cameras.npz (number, camera_to_world,
intrinsics) and scene.json (depth_scale, attributes); label/<frame>.png and mask/<frame>.png where there are any. In
the plain form of `data_process.rooms`, intrinsics.txt (3 x 3) and pose/<frame>.txt (4 x 4) replace the latter two.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.errors import InputError

MILLIMETRES = 1000.0
UNLABELLED = 255


class DataError(InputError):
    """Raised for a data set that cannot be read; the message names the file and what was expected."""


@dataclass
class RgbdFrame:
    """One stored frame, undistorted."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    depth: NDArray[np.uint16]
    """(H, W), stored units along z; 0 invalid."""
    labels: NDArray[np.uint8] | None = None
    """(H, W) class; 255 unlabelled."""
    mask: NDArray[np.uint8] | None = None
    """(H, W); 255 on the foreground."""


@dataclass(frozen=True)
class _Cameras:
    frames: list[str]
    numbers: NDArray[np.int64]
    camera_to_world: NDArray[np.float32]
    intrinsics: NDArray[np.float32]

    def restricted(self, numbers: Set[int]) -> _Cameras:
        kept = [position for position, number in enumerate(self.numbers.tolist()) if number in numbers]
        frames = [self.frames[position] for position in kept]
        return _Cameras(frames, self.numbers[kept], self.camera_to_world[kept], self.intrinsics[kept])


class RgbdScene:
    """A scene folder. Its description is read lazily, once."""

    def __init__(self, folder: Path, facts: Mapping[str, Any] | None = None, only: Sequence[int] | None = None) -> None:
        """
        Args:
            folder: the scene's folder.
            facts: content of scene.json, if a manifest already holds it.
            only: numbers of the frames to use; None for all.
        """
        self.folder = folder
        self._facts = facts
        self._only = None if only is None else frozenset(only)

    def __repr__(self) -> str:
        return f"RgbdScene({str(self.folder)!r})"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """The content of scene.json; empty where there is none."""
        if self._facts is not None:
            return self._facts
        path = self.folder / "scene.json"
        return _read_json(path) if path.is_file() else {}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes from the processing: sensor, split, category and the like."""
        return self.facts.get("attributes") or {}

    @cached_property
    def depth_scale(self) -> float:
        """Stored units of depth per metre."""
        return float(self.facts.get("depth_scale", MILLIMETRES))

    @cached_property
    def num_frames(self) -> int:
        """Number of frames, from the manifest if it lists it."""
        return int(self.facts["frames"]) if self._only is None and "frames" in self.facts else len(self.numbers)

    def restricted(self, numbers: Sequence[int]) -> RgbdScene:
        """The same scene with those of its frames that have one of these numbers."""
        return RgbdScene(self.folder, self.facts, numbers)

    @property
    def frames(self) -> list[str]:
        """Names of the frames' files without their endings, in order."""
        return self._cameras.frames

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(N,) numbers of the frames, increasing."""
        return self._cameras.numbers

    @property
    def camera_to_world(self) -> NDArray[np.float32]:
        """(N, 4, 4), OpenCV axes, metres."""
        return self._cameras.camera_to_world

    @property
    def intrinsics(self) -> NDArray[np.float32]:
        """(N, 3, 3) of the stored images, pixels, centre of the top left pixel at (0, 0)."""
        return self._cameras.intrinsics

    @cached_property
    def has_labels(self) -> bool:
        """Whether there are semantic labels."""
        return (self.folder / "label").is_dir()

    @cached_property
    def has_masks(self) -> bool:
        """Whether there are foreground masks."""
        return (self.folder / "mask").is_dir()

    def read(self, position: int, *, labels: bool = False, mask: bool = False) -> RgbdFrame:
        """Decode a frame.

        Args:
            position: index of the frame in the scene, from 0.
            labels, mask: read these as well, where the scene has them.

        Raises:
            DataError: a file is missing, damaged, or of another type or size than the image.
        """
        name = self.frames[position]
        image = read_pixels(self.folder / "color" / f"{name}.jpg", np.uint8, 3)
        frame = RgbdFrame(image, read_pixels(self.folder / "depth" / f"{name}.png", np.uint16, 1))
        if labels and self.has_labels:
            frame.labels = read_pixels(self.folder / "label" / f"{name}.png", np.uint8, 1)
        if mask and self.has_masks:
            frame.mask = read_pixels(self.folder / "mask" / f"{name}.png", np.uint8, 1)
        if any(
            other is not None and other.shape != image.shape[:2] for other in (frame.depth, frame.labels, frame.mask)
        ):
            raise DataError(f"frame {name} of {self.folder}: color, depth, label and mask differ in size")
        return frame

    @cached_property
    def _cameras(self) -> _Cameras:
        packed = self.folder / "cameras.npz"
        cameras = _packed_cameras(packed) if packed.is_file() else _plain_cameras(self.folder)
        return cameras if self._only is None else cameras.restricted(self._only)


Choice = Callable[[list[RgbdScene]], list[RgbdScene]]


class SceneIndex:
    """Scenes of a data set, in the order of their names. Only names are read until a scene is used.

    Create it before the loader's workers are forked, so that they share what has been read by then.
    """

    def __init__(self, root: Path | str, choose: Choice | None = None) -> None:
        """
        Args:
            root: folder of the data set, with one folder per scene.
            choose: selects the scenes to use; None for all.

        Raises:
            DataError: there are no scenes, or `choose` leaves none.
        """
        self.root = Path(root)
        found = self._manifest() or [
            RgbdScene(folder)
            for folder in sorted(
                {path.parent for name in ("cameras.npz", "intrinsics.txt") for path in self.root.glob(f"[!.]*/{name}")}
            )
        ]
        if not found:
            raise DataError(f"no scene folders (with a cameras.npz or an intrinsics.txt) in {self.root}")
        self.scenes = found if choose is None else choose(found)
        if not self.scenes:
            raise DataError(f"none of the {len(found)} scenes of {self.root} belongs to the chosen split or filter")

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> RgbdScene:
        return self.scenes[index]

    def _manifest(self) -> list[RgbdScene]:
        """Scenes listed in scenes.json, so that thousands of folders need not be opened one by one."""
        path = self.root / "scenes.json"
        if not path.is_file():
            return []
        scenes = _read_json(path).get("scenes")
        if not isinstance(scenes, Mapping):
            raise DataError(f"{path} has no mapping 'scenes' of names to facts; write it again with data_process")
        return [RgbdScene(self.root / name, scenes[name]) for name in sorted(scenes)]


def read_pixels(path: Path, dtype: type, channels: int) -> NDArray:
    """Decode an image file with the given pixel type and number of channels (1, or 3 for RGB).

    Raises:
        DataError: the file is missing, damaged, or of another kind.
    """
    # depth does not turn with EXIF, so the image must not either
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION if channels == 3 else cv2.IMREAD_UNCHANGED
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise DataError(f"{path} is not an image" if path.exists() else f"{path} is missing")
    if pixels.dtype != dtype or pixels.ndim != (3 if channels == 3 else 2):
        raise DataError(f"{path} has {pixels.dtype} pixels and shape {pixels.shape}; expected {np.dtype(dtype)}")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if channels == 3 else pixels


def _packed_cameras(path: Path) -> _Cameras:
    names = ("number", "camera_to_world", "intrinsics")
    try:
        with np.load(path) as file:
            numbers, poses, intrinsics = (file[name] for name in names)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable file with {', '.join(names)}: {error}") from None
    count = len(numbers)
    if poses.shape != (count, 4, 4) or intrinsics.shape != (count, 3, 3):
        raise DataError(f"{path}: {count} numbers, poses {poses.shape} and intrinsics {intrinsics.shape} disagree")
    if not np.isfinite(poses).all() or not np.isfinite(intrinsics).all():
        raise DataError(f"{path} holds cameras that are not finite")
    return _Cameras([f"{number:06d}" for number in numbers], numbers.astype(np.int64), poses, intrinsics)


def _plain_cameras(folder: Path) -> _Cameras:
    intrinsics = _read_matrix(folder / "intrinsics.txt", 3)
    frames = sorted(path.stem for path in (folder / "color").glob("*.jpg"))
    if not frames:
        raise DataError(f"no frames (color/*.jpg) in {folder}")
    poses = np.stack([_read_matrix(folder / "pose" / f"{name}.txt", 4) for name in frames])
    numbers = [int(name) if name.isdecimal() else position for position, name in enumerate(frames)]
    return _Cameras(frames, np.array(numbers, np.int64), poses, np.tile(intrinsics, (len(frames), 1, 1)))


def _read_matrix(path: Path, size: int) -> NDArray[np.float32]:
    """A square matrix (size, size) from a text file."""
    try:
        values = np.array(path.read_text().split(), dtype=np.float32)
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except ValueError:
        raise DataError(f"{path} does not hold numbers") from None
    if values.size != size * size or not np.isfinite(values).all():
        raise DataError(f"{path} does not hold a finite {size} x {size} matrix")
    return values.reshape(size, size)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path} does not hold an object")
    return value
