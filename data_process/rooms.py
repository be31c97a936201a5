"""Write procedural rooms to disk: one folder per scene, in a standard RGB-D layout.

    python -m data_process.rooms output=DIR scenes=1000 frames=12

A scene folder holds color/000000.jpg, depth/000000.png (16 bit, millimetres, 0 invalid), pose/000000.txt (4 x 4 camera
to world), label/000000.png (8 bit class) and intrinsics.txt (3 x 3). Read it with
`common.data.scenes.datasets.rgbd_folder.RgbdFolderDataset`. A scene appears under its name only when it is complete, so
that an interrupted run is resumed by starting it again.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch

from common.command.launch import launch
from common.configuration import GivenText, UserPath
from common.errors import ConfigurationError
from common.files import check_writable, read_json, remove_leftovers, temporary_folder, write_json
from common.progress import ProgressReporter
from common.ranges import Count, FieldOfViewSpan, Pixels, Quality, Seed, Share, Span, Workers
from common.rooms import room_seed, room_sequence
from common.rooms.camera_path import Tilt
from common.rooms.looks.photographs import Photographs, check_photographs
from common.views import Views
from data_process.errors import WriteError
from data_process.writing.command import process_verb
from data_process.writing.runner import worker_pool

_SETTINGS_FILE = "rooms.json"
_LATER = {
    "tilted": False,
    "world": "rooms",
    "close": 0.0,
    "photographs": None,
    "photograph_share": Photographs.share,
    "clutter": 0.0,
}
"""Values of settings in data sets from before these settings existed."""
_FILMING = Tilt(pitch=(math.radians(-55), math.radians(12)), lean=math.radians(6))


@dataclass(frozen=True)
class RoomSettings:
    """Settings shared by the scenes of one data set; see configs/process/rooms.yaml."""

    frames: Count = 14
    """Pictures per room."""
    seed: Seed = 0
    """Decides all rooms; rooms of different seeds differ."""
    split: Literal["train", "held_out"] = "train"
    """train or held_out: their rooms never coincide, whatever the seed."""
    size: Pixels | tuple[Pixels, Pixels] = 224
    """Pixels: one number for squares, or [height, width]."""
    step: Span = (0.05, 0.15)
    """Metres from one frame to the next: range over scenes."""
    turn: Span = (3.0, 7.0)
    """Degrees of pan from one frame to the next: range over scenes."""
    fov: FieldOfViewSpan = (50.0, 80.0)
    """Field of view along the longer side, degrees: range over scenes."""
    tilted: bool = False
    """Hold the camera as people film: up to 55 degrees downward and 12 upward, leaning to one side by some 6 degrees.
    Else at most 22 downward and nearly level."""
    close: Share = 0.0
    """Share of the scenes that are filmed from near, around one thing: a desk, a shelf, a bed."""
    jpeg_quality: Quality = 95
    """Quality of JPEGs, 0 to 100."""
    world: Literal["rooms", "objects", "street"] = "rooms"
    """rooms, objects (things that float at any distance, so that parallax alone tells it) or street (houses and castles
    under a sky). For the last two, step is that for what is 2.5 m away; it grows with the distance."""
    photographs: UserPath | None = None
    """Folder of photographic textures (PNG or JPEG, in subfolders too); null for patterns only. Names say where a
    picture fits: wood, brick, tile, marble, plaster, fabric, metal, floor, view and the like; others go anywhere."""
    photograph_share: Share = Photographs.share
    """Part of the materials of a room that shows a photograph."""
    clutter: Share = 0.0
    """Things and furniture on top of the usual ones, from 0 (none) to 1 (kitchens and offices full of things)."""

    def __post_init__(self) -> None:
        if self.world != "rooms" and (self.close or self.clutter):
            raise ValueError(f"close and clutter are settings of rooms; leave them out with world={self.world}")


def write_scenes(
    output: Path | str, scenes: int, settings: RoomSettings | None = None, workers: int = 1, progress: bool = True
) -> list[Path]:
    """Write the missing scenes.

    Args:
        output: folder of the data set, created if needed. It must not hold scenes with other settings.
        scenes: total number of scenes afterwards.
        settings: frames, size and motion.
        workers: processes, with one thread each; 0 works in this process.
        progress: report it (`common.progress`).

    Returns:
        The folders of all scenes.

    Raises:
        ConfigurationError: the output holds other scenes, or a photograph cannot be read.
        WriteError: the output cannot be written.
        InputError: a worker was killed.
    """
    settings, output = settings or RoomSettings(), Path(output)
    if settings.photographs is not None:
        check_photographs(settings.photographs)
    try:
        output.mkdir(parents=True, exist_ok=True)
        remove_leftovers(output)
        return _write_missing(output, scenes, settings, workers, progress)
    except OSError as error:
        raise WriteError(f"cannot write {error.filename or output}: {error.strerror or error}") from error


def _write_missing(output: Path, scenes: int, settings: RoomSettings, workers: int, progress: bool) -> list[Path]:
    _claim(output, settings)
    folders = [output / f"scene_{index:06d}" for index in range(scenes)]
    missing = [index for index, folder in enumerate(folders) if not folder.exists()]
    if not missing:
        return folders
    reporter = ProgressReporter("rooms", scenes, "scene", initial=scenes - len(missing), show=progress)
    with reporter:
        if workers == 0:
            for index in missing:
                _write_scene(folders[index], index, settings)
                reporter.update()
            return folders
        with worker_pool(min(workers, len(missing))) as pool:
            tasks = [pool.submit(_write_scene_alone, folders[index], index, settings) for index in missing]
            for task in as_completed(tasks):
                task.result()
                reporter.update()
    return folders


def _claim(output: Path, settings: RoomSettings) -> None:
    """Record the settings of a data set, or check that existing scenes have the same."""
    path, wanted = output / _SETTINGS_FILE, json.loads(json.dumps(asdict(settings), default=str))
    if not path.exists():
        if any(output.glob("scene_*")):
            raise ConfigurationError(f"{output} holds scenes, but no {path.name} that says how they were made")
        return write_json(path, wanted)
    try:
        found = dict(read_json(path))
    except (ValueError, TypeError):
        raise ConfigurationError(f"{path} is damaged; remove it together with its scenes") from None
    found = {**_LATER, **found}
    changed = ", ".join(key for key in wanted if found.get(key) != wanted[key])
    if changed:
        raise ConfigurationError(f"{path} was written with other settings ({changed}); choose another output folder")


def _write_scene_alone(folder: Path, index: int, settings: RoomSettings) -> None:
    """Write a scene with one thread, in a worker process."""
    torch.set_num_threads(1)
    _write_scene(folder, index, settings)


def _write_scene(folder: Path, index: int, settings: RoomSettings) -> None:
    """Render a scene into a temporary folder, then rename it."""
    views = room_sequence(
        room_seed(settings.split, settings.seed, index),
        settings.frames,
        settings.size,
        step=settings.step,
        turn=settings.turn,
        fov=settings.fov,
        tilt=_FILMING if settings.tilted else None,
        world=settings.world,
        close=bool(np.random.default_rng([19, settings.seed, index]).random() < settings.close),
        photographs=Photographs(settings.photographs, settings.photograph_share) if settings.photographs else None,
        clutter=settings.clutter,
    )
    with temporary_folder(folder.parent, folder.name) as temporary:
        save_views(temporary, views, settings.jpeg_quality)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # else another run has written the same scene in the meantime
                raise


def save_views(folder: Path, views: Views, jpeg_quality: int = 95) -> None:
    """Write views (no batch axis, one camera) as a scene folder."""
    for name in ("color", "depth", "pose", "label"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "intrinsics.txt", views.intrinsics[0].cpu().numpy(), fmt="%.6f")
    images = ((views.images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    depth = (views.depth * 1000).round()
    depth = torch.where(depth > 65535, 0, depth).clamp_min(0).cpu().numpy().astype(np.uint16)
    labels = views.labels.byte().cpu().numpy()
    poses = views.camera_to_world.cpu().numpy()
    for index in range(len(images)):
        _write_image(folder / "color" / f"{index:06d}.jpg", images[index, ..., ::-1], jpeg_quality)
        _write_image(folder / "depth" / f"{index:06d}.png", depth[index])
        _write_image(folder / "label" / f"{index:06d}.png", labels[index])
        np.savetxt(folder / "pose" / f"{index:06d}.txt", poses[index], fmt="%.8f")


def _write_image(path: Path, image: np.ndarray, jpeg_quality: int = 95) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), image, options):
        raise OSError(f"cannot write {path}")


@dataclass(frozen=True, kw_only=True)
class RoomsCommand(RoomSettings):
    """Settings of the command, ``configs/process/rooms.yaml``."""

    output: GivenText
    """Folder of the data set."""
    scenes: Count = 1000
    """Rooms, one folder each."""
    workers: Workers = 2
    """Processes, one thread each; 0 works in the main process."""


def process(chosen: RoomsCommand) -> None:
    """Write the missing rooms."""
    check_writable(chosen.output, (_SETTINGS_FILE,))
    settings = RoomSettings(**{field.name: getattr(chosen, field.name) for field in fields(RoomSettings)})
    write_scenes(chosen.output, chosen.scenes, settings, chosen.workers)


VERB = process_verb(
    "rooms",
    RoomsCommand,
    process,
    "Procedural rooms on disk. Started again with the same settings, it writes only what is missing.",
)

if __name__ == "__main__":
    launch(VERB)
