"""Matches between pairs of pictures, verified by the geometry of two views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.geometry.colmap_backend import pycolmap_module
from common.refinement.matching.backend import colmap_camera, two_view_options
from common.refinement.matching.features import Features
from common.refinement.projection import pixel_unit
from common.refinement.settings import MatchingSettings
from common.refinement.types import Camera

Matcher = Callable[[Features, Features], NDArray[np.int64]]
"""A matcher: features of two pictures to (M, 2) rows of the first and of the second."""

_CHUNK = 64
_CELLS = 8  # along the longer side of a picture


@dataclass(frozen=True)
class PairMatches:
    """Verified matches of the pictures `first` < `second`."""

    first: int
    second: int
    rows: NDArray[np.int64]
    """(M, 2) rows of the features of the first and of the second picture."""
    fundamental: NDArray[np.float64] | None
    """(3, 3), x_second^T F x_first = 0 in working pixels; None where a homography explains the pair as well: a plane,
    or a camera that only turned."""
    unverified: NDArray[np.int64]
    """(U, 2) rows of the matches that were proposed, and not verified."""


class NearestNeighbours:
    """Mutual nearest neighbours in descriptor space that pass the ratio test (Lowe 2004); batched torch."""

    def __init__(self, ratio: float = MatchingSettings.ratio, device: torch.device | str = "cpu") -> None:
        """
        Args:
            ratio: distance to the best over distance to the second best, at most.
            device: where the distances are computed.
        """
        self.ratio = ratio
        self.device = device

    def __call__(self, first: Features, second: Features) -> NDArray[np.int64]:
        """(M, 2) matching rows."""
        if min(len(first), len(second)) < 2:
            return np.zeros((0, 2), dtype=np.int64)
        return mutual_matches(
            first.unit_descriptors(device=self.device), second.unit_descriptors(device=self.device), self.ratio
        ).numpy()


def mutual_matches(first: Tensor, second: Tensor, ratio: float) -> Tensor:
    """(M, 2) int64 rows of unit descriptors (K, D) and (L, D), L > 1, that choose each other clearly.

    A match is clear where its distance is at most `ratio` times that from the first's row to any other of the second.
    """
    similarity = first @ second.T
    best, partner = similarity.max(dim=1)
    # Comparing values finds mutual choices at a tenth of the time of an argmax over columns.
    rows = (similarity.amax(dim=0)[partner] == best).nonzero()[:, 0]
    rivals = similarity[rows].scatter_(1, partner[rows, None], -1.0).amax(dim=1)
    distance, rival_distance = (2 - 2 * best[rows]).clamp(min=0), (2 - 2 * rivals).clamp(min=0)
    rows = rows[(distance <= ratio**2 * rival_distance) & (rival_distance > 0)]
    return torch.stack([rows, partner[rows]], dim=1).cpu()


def match_pairs(
    features: Sequence[Features],
    pairs: Sequence[tuple[int, int]],
    cameras: Sequence[Camera],
    settings: MatchingSettings,
    *,
    threads: int = 1,
    seed: int = 0,
    matcher: Matcher | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[PairMatches]:
    """Match and verify pairs.

    Args:
        features: of N pictures.
        pairs: (first, second) with first < second.
        cameras: camera of each of the N pictures. Known ones verify with an essential matrix, others, whose focal
            length is not used, with a fundamental matrix.
        settings: thresholds.
        threads: pairs that are verified at a time.
        seed: of the random samples.
        matcher: nearest neighbours where None.
        progress: told the share that is done.

    Returns:
        The pairs that have matches enough, in the order of `pairs`.
    """
    matcher = matcher or NearestNeighbours(settings.ratio)
    verified: list[PairMatches] = []

    def verify(job: tuple[int, int, NDArray[np.int64]]) -> PairMatches | None:
        first, second, rows = job
        return _verify(features, cameras, first, second, rows, settings, seed)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for start in range(0, len(pairs), _CHUNK):
            chunk = pairs[start : start + _CHUNK]
            matched = ((a, b, matcher(features[a], features[b])) for a, b in chunk)
            jobs = [job for job in matched if len(job[2]) >= settings.min_matches]
            verified.extend(pair for pair in pool.map(verify, jobs) if pair is not None)
            if progress is not None:
                progress(min(start + _CHUNK, len(pairs)) / len(pairs))
    return verified


def _verify(
    features: Sequence[Features],
    cameras: Sequence[Camera],
    first: int,
    second: int,
    rows: NDArray[np.int64],
    settings: MatchingSettings,
    seed: int,
) -> PairMatches | None:
    """The motion that explains most of the picture's area.

    Something with a busy texture that moves has most of the matches at times; still, what stands fills more of the
    picture. So what the first motion leaves over is asked for a second one.
    """
    inliers, fundamental = _explain(features, cameras, first, second, rows, settings, seed)
    rest = rows[~inliers]
    if len(rest) >= settings.min_matches and inliers.any():
        other, other_fundamental = _explain(features, cameras, first, second, rest, settings, seed)
        size = cameras[first].size
        if occupied_cells(features[first].xy[rest[other, 0]], size) > occupied_cells(
            features[first].xy[rows[inliers, 0]], size
        ):
            left = np.concatenate([rows[inliers], rest[~other]])
            return PairMatches(first, second, rest[other], other_fundamental, left)
    return PairMatches(first, second, rows[inliers], fundamental, rest) if inliers.any() else None


def _explain(
    features: Sequence[Features],
    cameras: Sequence[Camera],
    first: int,
    second: int,
    rows: NDArray[np.int64],
    settings: MatchingSettings,
    seed: int,
) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
    """(M,) bool: matches that one motion explains, none if there are too few; and its fundamental matrix."""
    pycolmap = pycolmap_module()
    error = settings.max_error * max(pixel_unit(cameras[first]), pixel_unit(cameras[second]))
    index = np.arange(len(rows), dtype=np.uint32)
    geometry = pycolmap.estimate_two_view_geometry(
        colmap_camera(cameras[first], 1),
        np.ascontiguousarray(features[first].xy[rows[:, 0]]),
        colmap_camera(cameras[second], 2),
        np.ascontiguousarray(features[second].xy[rows[:, 1]]),
        np.stack([index, index], axis=1),
        two_view_options(error, settings.min_matches, seed),
    )
    inliers = np.zeros(len(rows), dtype=np.bool_)
    kept = np.asarray(geometry.inlier_matches)
    if len(kept) < settings.min_matches:
        return inliers, None
    inliers[kept[:, 0].astype(np.int64)] = True
    general = geometry.config in (
        pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED,
        pycolmap.TwoViewGeometryConfiguration.CALIBRATED,
    )
    return inliers, np.array(geometry.F) if general and geometry.F is not None else None


def cells(xy: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
    """(K,) number of the square cell of a grid, `_CELLS` along the longer side, that each pixel (K, 2) lies in."""
    column, row = (xy * _CELLS // max(size)).astype(np.int64).T
    return row * _CELLS + column


def occupied_cells(xy: NDArray[np.float64], size: tuple[int, int]) -> int:
    """Number of cells with two pixels or more."""
    return int((np.bincount(cells(xy, size), minlength=1) >= 2).sum()) if len(xy) else 0
