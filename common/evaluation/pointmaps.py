"""Evaluation of the world pointmaps of a whole sequence by the published protocol of SLAM3R (arXiv 2412.09401).

Pixels are drawn before any point is read, so memory does not grow with the length of the sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.evaluation.truth import SequenceTruth
from common.geometry.alignment import AlignmentResult, align_to_ground_truth, transform_points
from common.metrics.pointcloud import PointcloudScore, reduce_and_refine, score_pointcloud
from common.ranges import Count, Positive, Seed

THRESHOLDS = (0.01, 0.015, 0.02, 0.05, 0.10)
"""Thresholds of F-scores, metres."""
FEWEST_POINTS = 100


@dataclass(frozen=True)
class PointsProtocol:
    """Sampling and comparison of pointmaps; the defaults are the published ones."""

    confidence: float = 3.0
    """Points strictly above it are scored."""
    num_samples: Count = 200_000
    """Pixels drawn."""
    voxel_size: Positive = 0.005
    """Both clouds are reduced to voxels of this side, metres."""
    seed: Seed = 42
    """Seed of sampling and alignment; the accuracy can vary by 10 % with it."""
    truth: Literal["paired", "all"] = "paired"
    """True points for completeness: those of the sampled pixels (published), or a sample of all pixels with known
    depth, so that pixels of low confidence count as missing."""

    def __post_init__(self) -> None:
        if self.num_samples < FEWEST_POINTS or self.voxel_size <= 0:
            raise ValueError(f"num_samples must be at least {FEWEST_POINTS} and voxel_size positive")


@dataclass(frozen=True)
class PointmapScore:
    """Score with the compared clouds, for figures."""

    score: PointcloudScore
    alignment: AlignmentResult
    points: NDArray[np.float64]
    """(N, 3) predicted points, aligned and reduced to voxels, metres."""
    num_confident: int
    """Pixels above the confidence threshold with known depth."""
    num_valid: int
    """Pixels with known depth."""


def score_pointmaps(
    points: NDArray,
    confidence: NDArray,
    truth: SequenceTruth,
    protocol: PointsProtocol,
    workers: int = -1,
    valid: NDArray[np.bool_] | None = None,
) -> PointmapScore:
    """Align predicted pointmaps to the truth and compare.

    Args:
        points: (n, h, w, 3) world, any unit; may be memory-mapped.
        confidence: (n, h, w).
        truth: of the same frames and pixels.
        protocol: what is drawn and how it is compared.
        workers: threads of the nearest neighbour search; -1 for all cores.
        valid: (n, h, w), the pixels that have a point; all where None.

    Raises:
        ValueError: shapes differ, or fewer than 100 points are confident.
    """
    if points.shape[:3] != truth.depth.shape or confidence.shape != truth.depth.shape:
        raise ValueError(f"pointmaps {points.shape} and truth {truth.depth.shape} are not of the same pixels")

    def known(frame: int) -> NDArray[np.bool_]:
        return truth.depth[frame].reshape(-1) > 0

    def confident(frame: int) -> NDArray[np.bool_]:
        return known(frame) & (confidence[frame].reshape(-1) > protocol.confidence)

    frames, pixels, num_confident = draw_pixels(confident, len(points), protocol.num_samples, protocol.seed)
    predicted = points.reshape(len(points), -1, 3)[frames, pixels].astype(np.float64)
    usable = np.isfinite(predicted).all(axis=1)
    if valid is not None:
        usable &= valid.reshape(len(points), -1)[frames, pixels]
    if usable.sum() < FEWEST_POINTS:
        raise ValueError(f"only {usable.sum()} points have a confidence above {protocol.confidence:g} and known depth")
    predicted, frames, pixels = predicted[usable], frames[usable], pixels[usable]
    paired = truth.points(frames, pixels)
    alignment = align_to_ground_truth(predicted, paired, seed=protocol.seed)
    if protocol.truth == "all":
        frames, pixels, num_valid = draw_pixels(known, len(points), protocol.num_samples, protocol.seed + 1)
        target = truth.points(frames, pixels)
    else:
        num_valid, target = sum(int(known(frame).sum()) for frame in range(len(points))), paired
    aligned = transform_points(alignment.transform, predicted)
    aligned, target = reduce_and_refine(aligned, target, protocol.voxel_size)
    score = score_pointcloud(aligned, target, THRESHOLDS, workers=workers)
    return PointmapScore(score, alignment, aligned, num_confident, num_valid)


def draw_pixels(
    mask: Callable[[int], NDArray[np.bool_]], num_frames: int, num_samples: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Draw pixels uniformly, without replacement, from all frames together; one frame's mask is held at a time.

    Args:
        mask: gives the (h * w,) pixels of a frame that may be drawn; asked twice.
        num_frames: n.
        num_samples: how many are drawn, or all if there are fewer.
        seed: of the draw.

    Returns:
        Frames (N,) and flat pixels (N,), ascending, and the number of pixels that there were to draw from.
    """
    ends = np.cumsum([int(np.count_nonzero(mask(frame))) for frame in range(num_frames)], dtype=np.int64)
    total = int(ends[-1]) if num_frames else 0
    ranks = np.sort(np.random.default_rng(seed).choice(total, min(num_samples, total), replace=False, shuffle=False))
    frames = np.searchsorted(ends, ranks, side="right")
    pixels = np.empty(len(ranks), np.int64)
    bounds = np.searchsorted(frames, np.arange(num_frames + 1))
    for frame in np.unique(frames).tolist():
        own = slice(bounds[frame], bounds[frame + 1])
        before = ends[frame - 1] if frame else 0
        pixels[own] = np.flatnonzero(mask(frame))[ranks[own] - before]
    return frames, pixels, total
