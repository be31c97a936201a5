"""Errors of camera trajectories: absolute (ATE) and relative (RPE), after Sturm et al., IROS 2012."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from common.geometry.alignment import transform_points, umeyama

Alignment = Literal["similarity", "rigid", "none"]


@dataclass(frozen=True)
class TrajectoryError:
    """Absolute trajectory error: distances between camera centres after alignment, unit of the truth."""

    rmse: float
    mean: float
    median: float
    maximum: float
    transform: NDArray[np.float64]
    """(4, 4) alignment: truth = transform @ estimate."""
    scale: float
    """Scale of the alignment."""


@dataclass(frozen=True)
class RelativePoseError:
    """Error of the motion between poses `step` apart."""

    translation_rmse: float
    """Unit of the truth."""
    rotation_rmse: float
    """Degrees."""
    rotation_mean: float
    """Degrees."""


def align_trajectory(estimate: NDArray, truth: NDArray, alignment: Alignment = "similarity") -> NDArray[np.float64]:
    """(4, 4) least-squares transform (Umeyama) from camera centres (N, 3) to true ones (N, 3)."""
    if alignment == "none":
        return np.eye(4)
    if len(estimate) < 3:
        raise ValueError(f"alignment needs 3 poses, not {len(estimate)}")
    source, target = (torch.from_numpy(np.asarray(points, np.float64)) for points in (estimate, truth))
    return umeyama(source, target, with_scale=alignment == "similarity").numpy()


def absolute_trajectory_error(
    estimate: NDArray, truth: NDArray, alignment: Alignment = "similarity"
) -> TrajectoryError:
    """ATE of poses.

    Args:
        estimate: (N, 4, 4) camera-to-world, any unit.
        truth: (N, 4, 4) camera-to-world, metres, of the same instants.
        alignment: "similarity" for monocular systems, whose scale is free; "rigid" if the scale is metric; "none".
    """
    _check_lengths(estimate, truth)
    centres, true_centres = estimate[:, :3, 3].astype(np.float64), truth[:, :3, 3].astype(np.float64)
    transform = align_trajectory(centres, true_centres, alignment)
    distance = np.linalg.norm(transform_points(transform, centres) - true_centres, axis=1)
    return TrajectoryError(
        rmse=float(np.sqrt(np.mean(distance**2))),
        mean=float(distance.mean()),
        median=float(np.median(distance)),
        maximum=float(distance.max()),
        transform=transform,
        scale=float(np.cbrt(np.linalg.det(transform[:3, :3]))),
    )


def relative_pose_error(estimate: NDArray, truth: NDArray, step: int = 1, scale: float = 1.0) -> RelativePoseError:
    """RPE of poses.

    Args:
        estimate: (N, 4, 4) camera-to-world.
        truth: (N, 4, 4) camera-to-world, of the same instants.
        step: compare the motion from each pose to the one `step` later.
        scale: multiplies the estimate's translations (the ATE's scale for monocular systems).
    """
    _check_lengths(estimate, truth)
    if len(estimate) <= step:
        raise ValueError(f"{len(estimate)} poses have no pair {step} apart")
    estimate = estimate.astype(np.float64)
    estimate[:, :3, 3] *= scale
    motion = _relative(estimate, step)
    error = np.linalg.inv(_relative(truth.astype(np.float64), step)) @ motion
    translation = np.linalg.norm(error[:, :3, 3], axis=1)
    skew = error[:, :3, :3] - error[:, :3, :3].swapaxes(1, 2)
    sine = np.sqrt(skew[:, 2, 1] ** 2 + skew[:, 0, 2] ** 2 + skew[:, 1, 0] ** 2)
    angle = np.degrees(np.arctan2(sine, np.trace(error[:, :3, :3], axis1=1, axis2=2) - 1))
    return RelativePoseError(
        translation_rmse=float(np.sqrt(np.mean(translation**2))),
        rotation_rmse=float(np.sqrt(np.mean(angle**2))),
        rotation_mean=float(angle.mean()),
    )


def mean_rotation_error(estimate: NDArray, truth: NDArray) -> float:
    """Mean angle between estimated and true rotations after the one rotation that aligns them best, degrees.

    Args:
        estimate: (N, 4, 4) camera-to-world.
        truth: (N, 4, 4) camera-to-world of the same instants.
    """
    _check_lengths(estimate, truth)
    true, own = (Rotation.from_matrix(np.asarray(poses, np.float64)[:, :3, :3]) for poses in (truth, estimate))
    alignment = (true * own.inv()).mean()
    return float(np.degrees((true.inv() * alignment * own).magnitude()).mean())


def _relative(poses: NDArray, step: int) -> NDArray:
    return np.linalg.inv(poses[:-step]) @ poses[step:]


def _check_lengths(estimate: NDArray, truth: NDArray) -> None:
    if len(estimate) != len(truth) or len(estimate) == 0:
        raise ValueError(f"{len(estimate)} estimated poses against {len(truth)} true ones")


def associate(first: NDArray, second: NDArray, max_difference: float = 0.02) -> tuple[NDArray, NDArray]:
    """Indices (M,), (M,) of matching timestamps: mutual nearest neighbours, at most max_difference apart.

    Args:
        first: (N,) seconds, ascending.
        second: (K,) seconds, ascending.
        max_difference: seconds.
    """
    if len(first) == 0 or len(second) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    forward, backward = _nearest(first, second), _nearest(second, first)
    index = np.arange(len(first))
    mutual = (backward[forward] == index) & (np.abs(second[forward] - first) <= max_difference)
    return index[mutual], forward[mutual]


def _nearest(queries: NDArray, values: NDArray) -> NDArray:
    right = np.clip(np.searchsorted(values, queries), 0, len(values) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(values[left] - queries) <= np.abs(values[right] - queries), left, right)
