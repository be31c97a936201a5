"""Scores of reconstructions against known geometry (SLAM3R, Liu, Dong et al. 2025, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from common.geometry.alignment import align_to_ground_truth, transform_points
from common.geometry.cameras import unproject_to_world
from common.geometry.overlap import view_overlap
from common.metrics.pointcloud import PointcloudScore, reduce_and_refine, score_pointcloud, score_reconstruction
from common.metrics.trajectory import absolute_trajectory_error
from common.views import Views
from slam3r.reconstruction.networks import Networks

THRESHOLDS = (0.01, 0.015, 0.02, 0.05, 0.10)
"""Thresholds of F-scores, metres."""


@dataclass
class ReconstructionScore:
    """Scores of one scene."""

    points: PointcloudScore
    """Scores after alignment, metres."""
    constant: PointcloudScore
    """Scores of the best constant pointmap: the per-pixel mean of the true world pointmaps for every frame."""
    trajectory_rmse: float
    """Absolute trajectory error after similarity alignment, metres; NaN with fewer than three poses."""
    num_poses: int
    """Frames whose pose was solved."""
    num_frames: int
    aligned: NDArray[np.float64]
    """(P, 3) scored points in the frame of the truth, reduced to voxels, metres."""

    @property
    def accuracy_gain(self) -> float:
        """Accuracy error of the constant pointmap over that of the prediction."""
        return self.constant.accuracy / self.points.accuracy

    @property
    def completeness_gain(self) -> float:
        """The same for completeness."""
        return self.constant.completeness / self.points.completeness


def score_scene(
    points: NDArray,
    confidence: NDArray,
    poses: Sequence[NDArray | None],
    truth: Views,
    confidence_threshold: float,
    num_samples: int = 200_000,
    seed: int = 42,
) -> ReconstructionScore:
    """Align a reconstruction to the truth by the published procedure and compare.

    Args:
        points: (V, H, W, 3) world pointmaps; may be memory-mapped.
        confidence: (V, H, W).
        poses: (4, 4) camera-to-world of every frame, None where there is none.
        truth: (V, ..) depth, intrinsics and poses of the same frames, metres.
        confidence_threshold: points strictly above it count.
        num_samples: corresponding pairs drawn.
        seed: seed of sampling and alignment.

    Raises:
        ValueError: fewer than 100 points are confident.
    """
    assert truth.depth is not None and truth.intrinsics is not None and truth.camera_to_world is not None
    true_points = unproject_to_world(truth.depth, truth.intrinsics, truth.camera_to_world).numpy()
    valid = (truth.depth > 0).numpy()
    chosen = np.flatnonzero(valid & (confidence > confidence_threshold))
    if len(chosen) < 100:
        raise ValueError(f"only {len(chosen)} points have a confidence above {confidence_threshold}")
    random = np.random.default_rng(seed)
    sampled = random.choice(chosen, min(num_samples, len(chosen)), replace=False)
    # Completeness is measured against all of the truth, not only where the prediction was confident.
    everywhere = random.choice(np.flatnonzero(valid), min(num_samples, int(valid.sum())), replace=False)
    pairs = points.reshape(-1, 3)[sampled], true_points.reshape(-1, 3)[sampled]
    aligned = transform_points(align_to_ground_truth(*pairs, seed=seed).transform, pairs[0])
    whole_truth = true_points.reshape(-1, 3)[everywhere]
    constant = np.broadcast_to(true_points.mean(axis=0), true_points.shape).reshape(-1, 3)[everywhere]
    rmse, count = _trajectory(poses, truth.camera_to_world.numpy())
    moved, reduced = reduce_and_refine(aligned, whole_truth)
    return ReconstructionScore(
        score_pointcloud(moved, reduced, THRESHOLDS, workers=-1),
        score_reconstruction(constant, whole_truth, thresholds=THRESHOLDS, workers=-1),
        rmse,
        count,
        len(poses),
        moved,
    )


def _trajectory(poses: Sequence[NDArray | None], truth: NDArray) -> tuple[float, int]:
    solved = [i for i, pose in enumerate(poses) if pose is not None]
    if len(solved) < 3:
        return float("nan"), len(solved)
    estimate = np.stack([pose for pose in poses if pose is not None])
    return absolute_trajectory_error(estimate, truth[solved]).rmse, len(solved)


def retrieval_auc(networks: Networks, views: Views, threshold: float = 0.3) -> float:
    """Area under the ROC curve of the learned retrieval: overlapping views against views without overlap.

    All pairs of different views are pooled; a pair overlaps when both views see at least ``threshold`` of each other.

    Args:
        networks: compute the scores.
        views: (V, ..) with images, depth, intrinsics and poses.
        threshold: share of common pixels.

    Returns:
        0.5 is chance, 1 perfect; NaN when all pairs overlap, or none.
    """
    overlap = view_overlap(views)
    overlap = torch.minimum(overlap, overlap.T)
    tokens, grid = networks.encode(views.images, batch=10)
    scores = torch.stack([networks.correlation(token[None], tokens, grid, batch=1) for token in tokens]).cpu()
    pairs = ~torch.eye(len(tokens), dtype=torch.bool)
    return area_under_curve(scores[pairs], overlap[pairs] >= threshold)


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney); ties count half. (N,) and (N,) bool."""
    hits = int(positive.sum())
    misses = len(positive) - hits
    if hits == 0 or misses == 0:
        return float("nan")
    ranks = torch.from_numpy(rankdata(scores.double().numpy()))
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))
