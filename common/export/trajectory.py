"""Camera trajectories as text files: TUM (with timestamps and quaternions) and KITTI (rows of 3 x 4 matrices)."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from common.files import atomic_write


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
    """Read a TUM trajectory; lines that begin with # are comments."""
    rows = np.loadtxt(path, comments="#", ndmin=2, dtype=np.float64).reshape(-1, 8)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    if len(rows):
        poses[:, :3, :3] = Rotation.from_quat(rows[:, 4:]).as_matrix()
        poses[:, :3, 3] = rows[:, 1:4]
    return Trajectory(rows[:, 0], poses)


def write_kitti(path: str | os.PathLike[str], camera_to_world: ArrayLike) -> None:
    """Write one line per pose (N, 4, 4): the 12 numbers of its upper three rows."""
    poses = _checked_poses(camera_to_world)
    with atomic_write(path, "w") as file:
        for row in poses[:, :3].reshape(-1, 12):
            file.write(" ".join(f"{value:.9e}" for value in row) + "\n")


def read_kitti(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """(N, 4, 4) camera-to-world poses of a KITTI file."""
    rows = np.loadtxt(path, ndmin=2, dtype=np.float64).reshape(-1, 3, 4)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows
    return poses


def _checked_poses(camera_to_world: ArrayLike) -> NDArray[np.float64]:
    poses = np.asarray(camera_to_world, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4):
        raise ValueError(f"poses must be (N, 4, 4), not {poses.shape}")
    if not np.isfinite(poses).all():
        raise ValueError("poses must be finite: leave out frames without a pose")
    return poses
