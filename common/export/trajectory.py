"""Camera trajectories as text files: TUM (with timestamps and quaternions) and KITTI (rows of 3 x 4 matrices)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from common.errors import InputError
from common.files import atomic_write

logger = logging.getLogger(__name__)

_SHORTEST = 1e-6
"""Length below which a quaternion is refused; longer ones are normalized."""


@dataclass(frozen=True)
class Trajectory:
    """Poses over time."""

    timestamps: NDArray[np.float64]
    """(N,) seconds."""
    camera_to_world: NDArray[np.float64]
    """(N, 4, 4), OpenCV camera axes."""


def write_tum(path: str | os.PathLike[str], timestamps: ArrayLike, camera_to_world: ArrayLike) -> None:
    """Write lines of ``timestamp tx ty tz qx qy qz qw``.

    Args:
        path: of the text file.
        timestamps: (N,) seconds.
        camera_to_world: (N, 4, 4).
    """
    poses = _checked_poses(camera_to_world)
    times = np.asarray(timestamps, np.float64)
    if times.shape != (len(poses),):
        raise ValueError(f"{times.shape} timestamps for {len(poses)} poses")
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat(canonical=True) if len(poses) else np.empty((0, 4))
    with atomic_write(path, "w") as file:
        file.write("# timestamp tx ty tz qx qy qz qw\n")
        for time, row in zip(times, np.hstack([poses[:, :3, 3], quaternions]), strict=True):
            file.write(f"{time:.9f} " + " ".join(f"{value:.9f}" for value in row) + "\n")


def read_tum(path: str | os.PathLike[str]) -> Trajectory:
    """Read a TUM trajectory; lines that begin with # are comments.

    A row whose numbers are no pose (not finite, a quaternion of length 0) is left out with a warning.

    Raises:
        InputError: a row does not consist of 8 numbers.
        OSError: the file cannot be read.
    """
    times, poses = [], []
    for number, row in _rows(path, 8, "timestamp tx ty tz qx qy qz qw"):
        if not np.isfinite(row).all() or not np.linalg.norm(row[4:]) > _SHORTEST:
            logger.warning("%s:%d: no pose (not finite, or a zero quaternion), left out", path, number)
            continue
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = Rotation.from_quat(row[4:]).as_matrix(), row[1:4]
        times.append(row[0])
        poses.append(pose)
    return Trajectory(np.array(times, np.float64), np.array(poses, np.float64).reshape(-1, 4, 4))


def write_kitti(path: str | os.PathLike[str], camera_to_world: ArrayLike) -> None:
    """Write one line per pose (N, 4, 4): the 12 numbers of its upper three rows."""
    poses = _checked_poses(camera_to_world)
    with atomic_write(path, "w") as file:
        for row in poses[:, :3].reshape(-1, 12):
            file.write(" ".join(f"{value:.9e}" for value in row) + "\n")


def read_kitti(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """(N, 4, 4) camera-to-world poses of a KITTI file, row k of frame k; NaN where a row is not finite.

    Raises:
        InputError: a row does not consist of 12 numbers.
        OSError: the file cannot be read.
    """
    rows = [row for _, row in _rows(path, 12, "the 12 numbers of a 3 x 4 matrix")]
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    for number, (pose, row) in enumerate(zip(poses, rows, strict=True)):
        pose[:3] = row.reshape(3, 4)
        if not np.isfinite(row).all():
            logger.warning("%s: the pose of frame %d is not finite", path, number)
            pose[:] = np.nan
    return poses


def _rows(path: str | os.PathLike[str], columns: int, what: str) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """(line number, values) of the rows of a text file of numbers."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file") from error
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            values = np.empty(0)
        if len(values) != columns:
            raise InputError(f'{path}:{number}: expected {what}, got "{line.strip()[:80]}"')
        yield number, values


def _checked_poses(camera_to_world: ArrayLike) -> NDArray[np.float64]:
    poses = np.asarray(camera_to_world, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise ValueError(f"poses must be (N, 4, 4), not {poses.shape}")
    if not np.isfinite(poses).all():
        raise ValueError("poses must be finite: leave out frames without a pose")
    return poses
