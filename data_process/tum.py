"""TUM RGB-D (Sturm et al., IROS 2012) to the processed layout.

    python -m data_process.tum raw=DIR output=DIR [key=value ...]

Colour, depth and ground truth have separate timestamps: every colour image is matched with the depth image and the pose
nearest in time. Colour and depth are registered, and share the distortion of the colour camera, which is removed
here. Depth is stored at 5000 units per metre, as in the release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.command.launch import launch
from common.errors import ConfigurationError, InputError
from common.export.trajectory import Trajectory, read_tum
from common.ranges import Positive
from data_process.errors import BadFrameError, SceneError
from data_process.formats.frame_files import decode_color, metres, read_bytes, read_plane
from data_process.writing.command import process_verb, run
from data_process.writing.runner import StridedSettings
from data_process.writing.scene_writer import SceneWriter


@dataclass(frozen=True)
class Calibration:
    """A pinhole camera with OpenCV's distortion; named as on the benchmark's page."""

    fx: Positive
    fy: Positive
    cx: Positive
    cy: Positive
    distortion: tuple[float, float, float, float, float]
    """k1, k2, p1, p2, k3."""

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """(3, 3), pixels."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])


CAMERAS = {
    "freiburg1": Calibration(517.3, 516.5, 318.6, 255.3, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "freiburg2": Calibration(520.9, 521.0, 325.1, 249.7, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "freiburg3": Calibration(535.4, 539.2, 320.1, 247.6, (0.0, 0.0, 0.0, 0.0, 0.0)),  # undistorted at the source
}
"""Colour cameras by a part of the sequence's name (the benchmark's page on calibration)."""


@dataclass(frozen=True, kw_only=True)
class TumSettings(StridedSettings):
    """Settings of configs/process/tum.yaml."""

    cameras: dict[str, Calibration] = field(default_factory=lambda: dict(CAMERAS))
    """Colour camera by a part of the sequence's name."""
    depth_scale: Positive = 5000.0
    """Stored depth units per metre."""
    max_difference: Positive = 0.02
    """Largest time difference between a colour image and its depth image or pose, seconds."""
    undistort: bool = True
    """Remove the lens distortion from colour and depth."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_difference <= 0 or self.depth_scale <= 0:
            raise ValueError("max_difference and depth_scale must be above 0")


@dataclass(frozen=True)
class TumSequence:
    """A sequence: a folder with rgb.txt, depth.txt and groundtruth.txt."""

    name: str
    folder: Path
    camera: Calibration


def find_scenes(settings: TumSettings) -> list[TumSequence]:
    """All sequences below the raw folder, or the raw folder itself.

    Raises:
        ConfigurationError: a folder's name matches none of the cameras.
    """
    raw = settings.raw_folder()
    folders = [path.parent for pattern in ("rgb.txt", "*/rgb.txt") for path in sorted(raw.glob(pattern))]
    return [TumSequence(folder.name, folder, _camera(folder.resolve().name, settings)) for folder in folders]


def _camera(name: str, settings: TumSettings) -> Calibration:
    for key, camera in settings.cameras.items():
        if re.search(rf"{re.escape(key)}(?!\d)", name):
            return camera
    raise ConfigurationError(f"cameras: none of {', '.join(settings.cameras)} is in the name of the sequence {name}")


def convert(sequence: TumSequence, writer: SceneWriter, settings: TumSettings) -> None:
    """Add the frames of a sequence; a frame's number is its index in rgb.txt."""
    writer.depth_scale = settings.depth_scale
    writer.attributes |= {"number_step": settings.every}
    color_times, color_files = read_list(sequence.folder / "rgb.txt")
    depth_times, depth_files = read_list(sequence.folder / "depth.txt")
    trajectory = _read_ground_truth(sequence.folder / "groundtruth.txt")
    depth_of = associate(color_times, depth_times, settings.max_difference)
    pose_of = nearest(color_times, trajectory.timestamps, settings.max_difference)
    undistortion = _Undistortion(sequence.camera) if settings.undistort else None
    for number in range(0, len(color_times), settings.every):
        with writer.dropping(number):
            if pose_of[number] < 0:
                raise BadFrameError(f"no pose within {settings.max_difference} s")
            if depth_of[number] < 0:
                raise BadFrameError(f"no depth image within {settings.max_difference} s")
            color = decode_color(read_bytes(sequence.folder / color_files[number], "color image"))
            plane = read_plane(sequence.folder / depth_files[depth_of[number]], "depth image")
            depth = metres(plane, settings.depth_scale)
            if undistortion is not None:
                color, depth = undistortion(color, depth)
            pose = trajectory.camera_to_world[pose_of[number]]
            time = float(color_times[number])
            writer.add(number, color, depth, pose, sequence.camera.intrinsics, timestamp=time)


class _Undistortion:
    """Removes the distortion from images of a camera; the intrinsics stay the same."""

    def __init__(self, camera: Calibration) -> None:
        self.camera = camera
        self._maps: tuple[NDArray, NDArray] | None = None

    def __call__(self, color: NDArray[np.uint8], depth: NDArray[np.float32]) -> tuple[NDArray, NDArray]:
        """Undistort colour by interpolation and depth by nearest neighbour, which creates no false surfaces."""
        if not any(self.camera.distortion):
            return color, depth
        x, y = self._sources(depth.shape)
        # Outside the image there is no depth, and the colour of the border is replicated instead of black.
        straight_color = cv2.remap(color, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        straight_depth = cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        return np.asarray(straight_color), np.asarray(straight_depth)

    def _sources(self, size: tuple[int, ...]) -> tuple[NDArray, NDArray]:
        """Source coordinates in the distorted image of (height, width), for each pixel; the same for all frames."""
        if self._maps is None:
            matrix, distortion = self.camera.intrinsics, np.array(self.camera.distortion)
            maps = cv2.initUndistortRectifyMap(matrix, distortion, np.eye(3), matrix, size[::-1], cv2.CV_32FC1)
            self._maps = np.asarray(maps[0]), np.asarray(maps[1])
        return self._maps


def read_list(path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """Times in seconds (N,) and file names of rgb.txt or depth.txt; lines that begin with # are comments.

    Raises:
        SceneError: the file is missing or has a line that is not a time and a name.
    """
    try:
        rows = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        return np.array([float(row[0]) for row in rows]), [row[1] for row in rows]
    except OSError as error:
        raise SceneError(f"{path}: {error.strerror}") from error
    except (ValueError, IndexError) as error:
        raise SceneError(f"{path}: expected a time and a file name on every line") from error


def nearest(times: NDArray[np.float64], others: NDArray[np.float64], limit: float) -> NDArray[np.int64]:
    """(N,) index of the nearest of the other times (M,), in any order; -1 if none is within `limit`."""
    if not len(others):
        return np.full(len(times), -1)
    order = np.argsort(others, kind="stable")
    ranks = np.clip(np.searchsorted(others[order], times), 1, max(1, len(others) - 1))
    candidates = order[np.minimum(np.stack([ranks - 1, ranks]), len(others) - 1)]
    distances = np.abs(others[candidates] - times)
    index = candidates[distances.argmin(0), np.arange(len(times))]
    return np.where(distances.min(0) <= limit, index, -1)


def associate(times: NDArray[np.float64], others: NDArray[np.float64], limit: float) -> NDArray[np.int64]:
    """Like `nearest`, but each of the others is used at most once, closest pairs first (TUM's associate.py)."""
    matches = np.full(len(times), -1)
    order = np.argsort(others, kind="stable")
    low = np.searchsorted(others[order], times - limit, side="left")
    high = np.searchsorted(others[order], times + limit, side="right")
    pairs = [(i, int(j)) for i in range(len(times)) for j in order[low[i] : high[i]]]
    taken: set[int] = set()
    for i, j in sorted(pairs, key=lambda pair: abs(times[pair[0]] - others[pair[1]])):
        if matches[i] < 0 and j not in taken:
            matches[i] = j
            taken.add(j)
    return matches


def _read_ground_truth(path: Path) -> Trajectory:
    try:
        return read_tum(path)
    except OSError as error:
        raise SceneError(f"{path}: missing; this sequence has no ground truth") from error
    except InputError as error:
        raise SceneError(str(error)) from error


def process(settings: TumSettings) -> None:
    """Convert the raw data, or verify the output."""
    cameras = {name: vars(camera) for name, camera in settings.cameras.items()}
    run("tum", "CC BY 4.0", find_scenes, convert, settings, {**settings.own(), "cameras": cameras})


VERB = process_verb(
    "tum",
    TumSettings,
    process,
    "TUM RGB-D to the processed layout. raw holds "
    "rgbd_dataset_freiburg*/{rgb,depth,rgb.txt,depth.txt,groundtruth.txt}, or is such a folder.",
)

if __name__ == "__main__":
    launch(VERB)
