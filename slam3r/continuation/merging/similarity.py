"""The similarity between the worlds of two runs, by points that pictures of both show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import InputError
from common.geometry.alignment import umeyama
from common.refinement.cameras.gauge import Similarity
from common.refinement.matching.backend import silence, usable_threads
from common.refinement.matching.pair_matching import match_pairs
from slam3r.continuation.candidates import rank_pairs
from slam3r.continuation.landmarks import Landmarks
from slam3r.continuation.settings import MergingSettings

_SEED = 0
_HYPOTHESES, _SAMPLE, _SCORED = 4000, 4, 4000
_BATCH = 500
_ROUNDS = 20


@dataclass(frozen=True)
class SharedPoints:
    """Points that a picture of the first run and one of the second show."""

    first: NDArray[np.float64]
    """(M, 3) in the first run's world."""
    second: NDArray[np.float64]
    """(M, 3) in the second run's world."""
    distance: NDArray[np.float64]
    """(M,) from the camera of the first run, in its unit."""
    rows: NDArray[np.int64]
    """(M, 2) pictures of the first and of the second run."""

    def chosen(self, which: NDArray[np.bool_]) -> SharedPoints:
        """The points that a mask (M,) selects."""
        return SharedPoints(self.first[which], self.second[which], self.distance[which], self.rows[which])


@dataclass(frozen=True)
class FoundSimilarity:
    """Similarity from the second run's world to the first's, with the evidence for it."""

    similarity: Similarity
    matched: int
    """Points that both runs show."""
    inliers: int
    """Those whose two places agree."""
    pictures: tuple[int, int]
    """Pictures of the first and of the second run that show these."""
    residual: float
    """Median distance between the two places of an inlier, in the first run's unit."""
    relative: float
    """The same over the distance from the camera."""

    @property
    def residual_second(self) -> float:
        """The median distance in the second run's unit."""
        return self.residual / self.similarity.scale

    def sentence(self) -> str:
        """One line for the user."""
        return (
            f"{self.inliers} of {self.matched} points that {self.pictures[0]} and {self.pictures[1]} pictures show "
            f"agree within {self.residual:.3g} of the first run's unit ({self.residual_second:.3g} of the second's, "
            f"{self.relative:.1%} of the distance); scale {self.similarity.scale:.4g}"
        )


def shared_points(
    first: Landmarks,
    second: Landmarks,
    settings: MergingSettings,
    progress: Callable[[float], None] = lambda share: None,
) -> SharedPoints:
    """Points that pictures of both runs show, by verified matches of the pairs that are most alike.

    Args:
        first: pictures of the run whose world is kept.
        second: pictures of the other.
        settings: numbers and thresholds.
        progress: told the share that is done.
    """
    pairs = rank_pairs(
        [one.features for one in first.seen],
        [one.features for one in second.seen],
        settings.matching.ratio,
        settings.pairs,
    )
    count = len(first.seen)
    seen = [*first.seen, *second.seen]
    with silence():
        matches = match_pairs(
            [one.features for one in seen],
            [(row, count + other) for row, other in pairs],
            [one.camera for one in seen],
            settings.matching,
            threads=usable_threads(None),
            seed=_SEED,
            progress=lambda share: progress(0.7 * share),
        )
    points = lru_cache(maxsize=None)(first.points), lru_cache(maxsize=None)(second.points)
    rows: list[tuple[NDArray, NDArray, NDArray, NDArray]] = []
    for number, pair in enumerate(matches):
        own, other = pair.first, pair.second - count
        places = points[0](own)[pair.rows[:, 0]], points[1](other)[pair.rows[:, 1]]
        known = np.isfinite(places[0]).all(axis=1) & np.isfinite(places[1]).all(axis=1)
        distance = np.linalg.norm(places[0] - first.frames[own].camera_to_world[:3, 3], axis=1)
        pictures = np.tile([own, other], (int(known.sum()), 1))
        rows.append((places[0][known], places[1][known], distance[known], pictures))
        progress(0.7 + 0.3 * (number + 1) / len(matches))
    if not rows:
        return SharedPoints(np.empty((0, 3)), np.empty((0, 3)), np.empty(0), np.empty((0, 2), np.int64))
    return SharedPoints(*(np.concatenate(column) for column in zip(*rows)))


def find_similarity(shared: SharedPoints, settings: MergingSettings) -> tuple[FoundSimilarity, SharedPoints]:
    """The similarity that most points agree on, and these points.

    RANSAC over samples of four points, then least squares over those that agree, until they stay the same.

    Raises:
        InputError: the runs do not overlap, or their points do not agree; the message says which.
    """
    matched = len(shared.first)
    if matched < settings.min_inliers:
        raise InputError(
            f"the runs do not overlap: pictures of both show {matched} points, {settings.min_inliers} are needed"
        )
    transform = _best_sample(shared, settings.tolerance)
    inlier = np.zeros(matched, np.bool_)
    for _ in range(_ROUNDS):
        found = _relative_residuals(transform, shared) < settings.tolerance
        if found.sum() < _SAMPLE or (found == inlier).all():
            break
        inlier = found
        chosen, weights = shared.chosen(inlier), torch.from_numpy(1 / shared.distance[inlier] ** 2)
        transform = umeyama(torch.from_numpy(chosen.second), torch.from_numpy(chosen.first), weights)[None]
    inlier = _relative_residuals(transform, shared) < settings.tolerance
    agreeing = shared.chosen(inlier)
    number, ratio = int(inlier.sum()), float(inlier.mean())
    pictures = len(np.unique(agreeing.rows[:, 0])), len(np.unique(agreeing.rows[:, 1]))
    if number < settings.min_inliers or ratio < settings.min_ratio:
        raise InputError(
            f"the runs do not fit together: {number} of {matched} points that both show agree on a similarity, "
            f"{max(settings.min_inliers, round(settings.min_ratio * matched))} are needed"
        )
    if min(pictures) < settings.min_pictures:
        raise InputError(
            f"the runs hardly overlap: {pictures[0]} and {pictures[1]} pictures show the same, {settings.min_pictures} "
            "of each are needed"
        )
    matrix = transform[0].numpy()
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    similarity = Similarity(scale, matrix[:3, :3] / scale, matrix[:3, 3])
    residual = np.linalg.norm(similarity.points(agreeing.second) - agreeing.first, axis=1)
    relative = float(np.median(residual / agreeing.distance))
    return FoundSimilarity(similarity, matched, number, pictures, float(np.median(residual)), relative), agreeing


def _best_sample(shared: SharedPoints, tolerance: float) -> torch.Tensor:
    """(1, 4, 4) the similarity of a random sample that most points agree on."""
    rng = np.random.default_rng(_SEED)
    samples = torch.from_numpy(rng.integers(0, len(shared.first), (_HYPOTHESES, _SAMPLE)))
    second, first = torch.from_numpy(shared.second), torch.from_numpy(shared.first)
    transforms = umeyama(second[samples], first[samples])
    transforms = transforms[transforms.isfinite().all(dim=(-2, -1)) & (torch.linalg.det(transforms[:, :3, :3]) > 0)]
    if not len(transforms):
        raise InputError("the runs do not fit together: the points that both show lie in one place")
    scored = shared.chosen(np.isin(np.arange(len(first)), rng.permutation(len(first))[:_SCORED]))
    counts = torch.cat(
        [
            torch.from_numpy((_relative_residuals(part, scored) < tolerance).sum(axis=-1).reshape(-1))
            for part in transforms.split(_BATCH)
        ]
    )
    return transforms[counts.argmax()][None]


def _relative_residuals(transforms: torch.Tensor, shared: SharedPoints) -> NDArray[np.float64]:
    """(K, M), or (M,) for one of (K, 4, 4) transforms: distance between the two places over that from the camera."""
    moved = torch.from_numpy(shared.second) @ transforms[:, :3, :3].mT + transforms[:, None, :3, 3]
    residual = (moved - torch.from_numpy(shared.first)).norm(dim=-1) / torch.from_numpy(shared.distance)
    return residual.numpy()[0] if len(transforms) == 1 else residual.numpy()
