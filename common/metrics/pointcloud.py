"""Point cloud metrics against ground truth: accuracy, completeness, F-score, chamfer distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from common.geometry.alignment import icp_point_to_point, transform_points, voxel_downsample

ALIGNED_WITHIN = 0.10
"""Metres: SLAM3R counts a run as aligned if accuracy and completeness are at most this."""


@dataclass(frozen=True)
class PointcloudScore:
    """Distances in the unit of the clouds (metres), ratios from 0 to 1."""

    accuracy: float
    """Mean distance of a predicted point to the truth."""
    completeness: float
    """Mean distance of a true point to the prediction."""
    accuracy_median: float
    completeness_median: float
    accuracy_p90: float
    """Distance that nine of ten predicted points keep to the truth."""
    completeness_p90: float
    completion_ratio: float
    """Share of true points with a predicted one nearer than `completion_distance`."""
    precision: dict[float, float]
    """Share of predicted points nearer to the truth than each threshold."""
    recall: dict[float, float]
    """Share of true points nearer to the prediction than each threshold."""
    to_truth: NDArray[np.float64] = field(repr=False, compare=False)
    """(N,) distance of each predicted point to the truth, for pictures."""

    @property
    def chamfer(self) -> float:
        """Mean of accuracy and completeness."""
        return (self.accuracy + self.completeness) / 2

    @property
    def f_score(self) -> dict[float, float]:
        """Harmonic mean of precision and recall at each threshold; 0 where both are 0."""
        return {t: _harmonic_mean(p, self.recall[t]) for t, p in self.precision.items()}

    @property
    def is_aligned(self) -> bool:
        """Whether the published evaluation of SLAM3R counts the run as aligned; clouds must be in metres."""
        return max(self.accuracy, self.completeness) <= ALIGNED_WITHIN


def _harmonic_mean(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def nearest_distances(source: NDArray, target: NDArray, workers: int = 1) -> NDArray[np.float64]:
    """(N,) distance of each source point (N, 3) to its nearest target point (M, 3)."""
    return cKDTree(target).query(source, workers=workers)[0]


def score_pointcloud(
    prediction: NDArray,
    truth: NDArray,
    thresholds: Sequence[float] = (0.01, 0.015, 0.02),
    completion_distance: float = 0.05,
    workers: int = 1,
) -> PointcloudScore:
    """Compare two clouds that share a frame.

    Args:
        prediction: (N, 3), metres.
        truth: (M, 3), metres.
        thresholds: distances for precision, recall and F-score, metres.
        completion_distance: distance for the completion ratio, metres.
        workers: threads of the nearest neighbour search; -1 for all cores.
    """
    if len(prediction) == 0 or len(truth) == 0:
        raise ValueError(f"nothing to compare: {len(prediction)} predicted and {len(truth)} true points")
    to_truth = nearest_distances(prediction, truth, workers)
    to_prediction = nearest_distances(truth, prediction, workers)
    return PointcloudScore(
        accuracy=float(to_truth.mean()),
        completeness=float(to_prediction.mean()),
        accuracy_median=float(np.median(to_truth)),
        completeness_median=float(np.median(to_prediction)),
        accuracy_p90=float(np.quantile(to_truth, 0.9)),
        completeness_p90=float(np.quantile(to_prediction, 0.9)),
        completion_ratio=float((to_prediction < completion_distance).mean()),
        precision={t: float((to_truth < t).mean()) for t in thresholds},
        recall={t: float((to_prediction < t).mean()) for t in thresholds},
        to_truth=to_truth,
    )


def score_reconstruction(
    prediction: NDArray,
    truth: NDArray,
    voxel_size: float = 0.005,
    icp_distance: float = 0.1,
    thresholds: Sequence[float] = (0.01, 0.015, 0.02),
    workers: int = 1,
) -> PointcloudScore:
    """The published score of SLAM3R (arXiv 2412.09401) on an aligned prediction.

    Both clouds are downsampled to voxels, the prediction is refined by a last rigid ICP, then compared.

    Args:
        prediction: (N, 3), metres, after `common.geometry.alignment.align_to_ground_truth`.
        truth: (M, 3), metres.
        voxel_size: metres.
        icp_distance: pairs farther apart do not count in the ICP, metres.
        thresholds: see `score_pointcloud`.
        workers: see `score_pointcloud`.
    """
    moved, reduced = reduce_and_refine(prediction, truth, voxel_size, icp_distance)
    return score_pointcloud(moved, reduced, thresholds, workers=workers)


def reduce_and_refine(
    prediction: NDArray, truth: NDArray, voxel_size: float = 0.005, icp_distance: float = 0.1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Last step of SLAM3R's alignment: both clouds downsampled to voxels, the prediction refined by a rigid ICP.

    Args:
        prediction: (N, 3), metres, after `common.geometry.alignment.align_to_ground_truth`.
        truth: (M, 3), metres.
        voxel_size: metres.
        icp_distance: pairs farther apart do not count, metres.

    Returns:
        The reduced clouds (N', 3) and (M', 3) in the frame of the truth.
    """
    prediction, truth = voxel_downsample(prediction, voxel_size), voxel_downsample(truth, voxel_size)
    return transform_points(icp_point_to_point(prediction, truth, icp_distance), prediction), truth
