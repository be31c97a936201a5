"""Aria Synthetic Environments: fisheye images to upright pinhole images with depth along z.

    python -m data_process.aria raw=DIR output=DIR [key=value ...]

Sources: "ASE Data Format" (documentation of projectaria_tools); Avetisyan et al., "SceneScript", ECCV 2024; the choice
of scenes, the pinhole camera and the quarter turn as in Liu et al., "SLAM3R", CVPR 2025 (preparation of its data).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.command.launch import launch
from common.ranges import Count, CountOrZero, Pixels, Positive
from data_process.errors import BadFrameError, SceneError
from data_process.formats.fisheye624 import ASE_DEVICE_FROM_CAMERA, ASE_RGB_704, ASE_VALID_RADIUS_704
from data_process.formats.frame_files import decode_color, metres, read_bytes, read_plane
from data_process.formats.rectify import (
    Matrix,
    Rectification,
    make_rectification,
    pinhole_rays,
    turn_camera_clockwise,
    turn_clockwise,
)
from data_process.writing.command import process_verb, run
from data_process.writing.runner import ProcessSettings
from data_process.writing.scene_writer import SceneWriter

LICENCE = "Aria Synthetic Environments: Project Aria research licence, non-commercial; www.projectaria.com/datasets/ase"

_CALIBRATED_SIDE = 704
_SIDES = (704, 1408)
_TIME = "tracking_timestamp_us"
_POSE = tuple(f"{name}_world_device" for name in ("tx", "ty", "tz", "qx", "qy", "qz", "qw"))


@dataclass(frozen=True, kw_only=True)
class AriaSettings(ProcessSettings):
    """Settings of configs/process/aria.yaml."""

    size: Pixels = 512
    """Pixels, height and width of the pinhole images; the focal length is that of the device."""
    every: Count = 1
    """Take every n-th frame."""
    max_distance: Positive = 20.0
    """Metres along the ray; farther pixels become invalid."""
    first: CountOrZero | None = 500
    """Take the scenes with numbers below this; null: all. The published recipes take the first 500."""
    train_below: CountOrZero = 450
    """Scenes with numbers below this are split "train" (90 % of 500), the others "val"."""

    def __post_init__(self) -> None:
        if min(self.size, self.every) < 1 or self.max_distance <= 0:
            raise ValueError("size, every and max_distance must be above 0")


@dataclass(frozen=True)
class AriaScene:
    """A scene of the download."""

    name: str
    folder: Path
    split: str


@dataclass(frozen=True)
class DevicePose:
    """A row of trajectory.csv."""

    world_from_device: NDArray[np.float64]
    """(4, 4), metres; NaN if the row holds NaN."""
    seconds: float


def find_scenes(settings: AriaSettings) -> list[AriaScene]:
    """The first scenes below the raw folder: folders with a number for a name."""
    raw = settings.raw_folder()
    numbers = sorted(int(folder.name) for folder in raw.iterdir() if folder.is_dir() and folder.name.isdecimal())
    chosen = [number for number in numbers if settings.first is None or number < settings.first]
    return [
        AriaScene(str(number), raw / str(number), "train" if number < settings.train_below else "val")
        for number in chosen
    ]


def convert(scene: AriaScene, writer: SceneWriter, settings: AriaSettings) -> None:
    """Write the frames of a scene. Frame i belongs to row i of the trajectory."""
    writer.attributes.update(sensor="aria", number_step=settings.every, split=scene.split)
    trajectory = read_trajectory(scene.folder / "trajectory.csv")
    for path in sorted((scene.folder / "rgb").glob("vignette*.jpg"))[:: settings.every]:
        number = int(path.stem.removeprefix("vignette"))
        depth_path = scene.folder / "depth" / f"depth{path.stem.removeprefix('vignette')}.png"
        pose = trajectory.get(number)
        if pose is None:
            writer.drop(number, "no row in trajectory.csv")
            continue
        with writer.dropping(number):
            image = decode_color(read_bytes(path, "color image"))
            distance = metres(read_plane(depth_path, "depth image"), 1000)
            color, depth, camera_to_world, intrinsics = rectify_frame(image, distance, pose.world_from_device, settings)
            writer.add(number, color, depth, camera_to_world, intrinsics, timestamp=pose.seconds)


def rectify_frame(
    image: NDArray[np.uint8], distance: NDArray[np.float32], world_from_device: Matrix, settings: AriaSettings
) -> tuple[NDArray[np.uint8], NDArray[np.float32], Matrix, Matrix]:
    """An upright pinhole frame.

    Args:
        image: (S, S, 3) fisheye image, S = 704 or 1408.
        distance: (S, S) metres along the ray; 0 invalid.
        world_from_device: (4, 4), metres.
        settings: size of the result and the largest distance.

    Returns:
        Image (size, size, 3); depth (size, size) in metres along z, 0 invalid; camera-to-world (4, 4); intrinsics
        (3, 3) in pixels.
    """
    side = image.shape[0]
    if image.shape[:2] != (side, side) or side not in _SIDES or distance.shape != image.shape[:2]:
        raise BadFrameError(f"sizes: image {image.shape[:2]}, depth {distance.shape}; expected squares of 704 or 1408")
    rectification, axis_share = _lens(side, settings.size)
    distance = np.where(distance <= settings.max_distance, distance, np.float32(0))
    camera_to_world = world_from_device @ device_from_camera()
    intrinsics, camera_to_world = turn_camera_clockwise(rectification.intrinsics, camera_to_world, settings.size)
    color, depth = rectification.image(image), rectification.nearest(distance) * axis_share
    return turn_clockwise(color), turn_clockwise(depth), camera_to_world, intrinsics


@cache
def _lens(side: int, size: int) -> tuple[Rectification, NDArray[np.float32]]:
    """Rectification to a pinhole image of `size` with the lens's focal length, and z per distance (size, size).

    The factor is that of the ray along which the distance was measured, that of the nearest fisheye pixel, and not of
    the pinhole pixel itself, so that a wall facing the camera stays flat.
    """
    scale = side / _CALIBRATED_SIDE
    camera = ASE_RGB_704.resized(scale)
    middle = (size - 1) / 2
    intrinsics = np.array([[camera.focal, 0, middle], [0, camera.focal, middle], [0, 0, 1]])
    pixels = camera.project(pinhole_rays(intrinsics, (size, size)))
    exposed = np.linalg.norm(pixels - np.asarray(camera.principal_point), axis=-1) <= ASE_VALID_RADIUS_704 * scale
    pixels[~exposed] = np.nan
    rectification = make_rectification(pixels[..., 0], pixels[..., 1], intrinsics, (side, side))
    axis_share = camera.unproject(rectification.nearest_pixel())[..., 2]
    return rectification, axis_share.astype(np.float32)


def device_from_camera() -> Matrix:
    """(4, 4) from the RGB camera to the device, metres; the same in all scenes."""
    (w, x, y, z), translation = ASE_DEVICE_FROM_CAMERA
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    transform[:3, 3] = translation
    return transform


def read_trajectory(path: Path) -> Mapping[int, DevicePose]:
    """Poses of the device by frame number: the rows of trajectory.csv, whose first line names the columns."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SceneError(f"{path}: {error.strerror}") from error
    missing = [name for name in (_TIME, *_POSE) if not rows or name not in rows[0]]
    if missing:
        raise SceneError(f"{path}: no column {', '.join(missing)}")
    try:
        return {number: _device_pose(row) for number, row in enumerate(rows)}
    except (TypeError, ValueError) as error:
        raise SceneError(f"{path}: a row does not hold numbers ({error})") from error


def _device_pose(row: Mapping[str, str]) -> DevicePose:
    values = np.array([row[name] for name in _POSE], np.float64)
    seconds = float(row[_TIME]) * 1e-6
    if not np.isfinite(values).all() or not values[3:].any():
        return DevicePose(np.full((4, 4), np.nan), seconds)
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_quat(values[3:]).as_matrix()
    transform[:3, 3] = values[:3]
    return DevicePose(transform, seconds)


def process(settings: AriaSettings) -> None:
    """Convert the raw data, or verify the output."""
    run("aria", LICENCE, find_scenes, convert, settings, settings.own("first"))


VERB = process_verb(
    "aria",
    AriaSettings,
    process,
    "Aria Synthetic Environments to the processed layout. raw holds "
    "<number>/{trajectory.csv,rgb/vignette0000000.jpg,depth/depth0000000.png}.",
)

if __name__ == "__main__":
    launch(VERB)
