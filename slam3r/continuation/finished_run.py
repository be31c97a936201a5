"""A finished run, read back from its files: pictures, cameras, points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.export.nerfstudio_reading import NerfstudioFrame, read_nerfstudio_frames
from common.export.ply import PointCloud, read_ply
from common.export.result_folder import POINTS, SUMMARY, TRAJECTORY, TRANSFORMS, read_summary
from common.export.trajectory import read_tum
from common.geometry.lens import Lens
from common.paths import user_path
from common.refinement.types import Camera
from slam3r.scene.outputs import IMAGES

FEWEST = 2
"""Pictures with a pose that a run must have."""


@dataclass(frozen=True)
class RunFrame:
    """A picture of a run, and its camera."""

    name: str
    """Name in the run."""
    file: Path
    """The picture; its pixels are those that the camera describes."""
    timestamp: float
    camera_to_world: NDArray[np.float64]
    """(4, 4) OpenCV axes, in the run's world."""
    lens: Lens

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        return self.lens.size

    @property
    def radial_distortion(self) -> float:
        """k1; 0 without distortion."""
        return self.lens.parameters[4] if self.lens.model == "FULL_OPENCV" else 0.0

    def camera(self, size: tuple[int, int]) -> Camera:
        """The camera of the picture scaled to (height, width)."""
        return scaled_camera(self.lens.matrix, self.radial_distortion, self.size, size)


def scaled_camera(matrix: NDArray[np.float64], k1: float, original: tuple[int, int], size: tuple[int, int]) -> Camera:
    """The camera of pictures of (height, width) `size`, from intrinsics (3, 3) in pixels of the `original` ones."""
    y, x = size[0] / original[0], size[1] / original[1]
    fx, fy, cx, cy = (float(matrix[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Camera(x * fx, y * fy, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5, size, k1, known=True)


@dataclass(frozen=True)
class FinishedRun:
    """A run of ``slam3r reconstruct``, read from its folder."""

    folder: Path
    frames: Sequence[RunFrame]
    """The pictures that have a pose, in the order of the run."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Content of ``summary.json``."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.resolve().name

    @cached_property
    def points(self) -> PointCloud:
        """The points, in the run's world.

        Raises:
            InputError: the file is damaged, or holds none.
        """
        path = self.folder / POINTS
        try:
            cloud = read_ply(path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; expected the points of a run") from error
        except ValueError as error:
            raise InputError(str(error)) from error
        if not len(cloud.points):
            raise InputError(
                f"{path} holds no point, so nothing can be placed by it; a lower export.confidence keeps some"
            )
        return cloud

    @property
    def is_refined(self) -> bool:
        """Whether its cameras are refined ones."""
        verdict = self.summary.get("verdict")
        return isinstance(verdict, dict) and verdict.get("applied") in ("cameras", "dense")

    @property
    def written(self) -> set[str]:
        """Names of the files and folders that it wrote."""
        names = self.summary.get("written")
        return {str(name) for name in names} if isinstance(names, list) else set()

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) of its frames."""
        return np.array([frame.camera_to_world for frame in self.frames])

    def evenly(self, most: int) -> list[RunFrame]:
        """All its frames, or at most so many of them, at even distances."""
        if len(self.frames) <= most:
            return list(self.frames)
        chosen = np.unique(np.linspace(0, len(self.frames) - 1, most).round().astype(int))
        return [self.frames[row] for row in chosen]


def read_finished_run(folder: str | Path) -> FinishedRun:
    """Read a finished run.

    Raises:
        InputError: the folder holds no such run, its pictures are in no files, or a file is damaged.
    """
    folder = user_path(folder)
    if not folder.is_dir():
        raise InputError(f"run: {folder} is no folder; expected the output of slam3r reconstruct")
    if not (folder / SUMMARY).is_file() or not (folder / POINTS).is_file():
        raise InputError(f"run: {folder} holds no {SUMMARY} and {POINTS}; expected the output of slam3r reconstruct")
    if not (folder / TRANSFORMS).is_file():
        raise InputError(
            f"run: {folder} holds no {TRANSFORMS}, as its pictures are in no files; "
            "slam3r reconstruct with export.images=true writes both"
        )
    summary = read_summary(folder)
    described = read_nerfstudio_frames(folder / TRANSFORMS)
    if len(described) < FEWEST:
        raise InputError(f"run: {folder} has {len(described)} pictures with a pose, {FEWEST} are needed")
    names, times = _names(summary, described), _times(folder, len(described))
    frames = [_frame(folder, *row) for row in zip(described, names, times, strict=True)]
    return FinishedRun(folder, frames, summary)


def _frame(folder: Path, described: NerfstudioFrame, name: str, time: float) -> RunFrame:
    file = folder / described.name
    if not file.is_file():
        raise InputError(
            f"run: {folder}: its picture {described.name} is not there any more; export.images=true of slam3r "
            "reconstruct keeps a copy"
        )
    fault = described.lens.fault()
    if described.camera_to_world is None or not np.isfinite(described.camera_to_world).all() or fault is not None:
        raise InputError(f"{folder / TRANSFORMS}: {described.name}: {fault or 'it has no pose'}")
    return RunFrame(name, file, time, described.camera_to_world, described.lens)


def _names(summary: Mapping[str, Any], described: Sequence[NerfstudioFrame]) -> list[str]:
    """The run's own names of the posed frames; without them, those of the files."""
    try:
        lost = {str(name) for name in summary["frames_without_pose"]}
        names = [str(frame["name"]) for frame in summary["per_frame"] if str(frame["name"]) not in lost]
    except (KeyError, TypeError):
        names = []
    if len(names) == len(described) == len(set(names)):
        return names
    return [PurePosixPath(frame.name).name for frame in described]


def _times(folder: Path, count: int) -> NDArray[np.float64]:
    try:
        times = read_tum(folder / TRAJECTORY).timestamps
    except OSError as error:
        raise InputError(f"{folder / TRAJECTORY}: {error.strerror}") from error
    if len(times) != count:
        raise InputError(f"{folder / TRAJECTORY} has {len(times)} poses, {TRANSFORMS} beside it has {count}")
    return times


def copies_pictures(run: FinishedRun) -> bool:
    """Whether the run keeps copies of its pictures."""
    return IMAGES in run.written
