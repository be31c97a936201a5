"""Focal lengths from fundamental matrices alone, by a vote of all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.refinement.matching.pair_matching import PairMatches
from common.refinement.settings import FocalSettings
from common.refinement.types import Camera

_CAP = 0.3  # a pair's cost at most: beyond it, the pair says nothing
_MATCHES = 200  # more matches give a pair no more weight


@dataclass(frozen=True)
class FocalVote:
    """Focal length of one camera as its pairs vote."""

    focal: float
    """Working pixels; the start where the pairs cannot tell."""
    pairs: int
    """Pairs that voted."""
    decided: bool
    """The vote was taken."""


def estimate_focals(
    cameras: Sequence[Camera],
    frame_camera: Sequence[int],
    matches: Sequence[PairMatches],
    settings: FocalSettings,
) -> tuple[list[Camera], list[FocalVote]]:
    """Focal length of every camera that is not known.

    With the right intrinsics, the essential matrix K_b^T F K_a has two equal singular values (Kruppa's equations; Sturm
    2001). Every general pair of one camera votes on a logarithmic grid of focal lengths; the robust sum has its minimum
    at the camera's. A camera without such pairs is found through pairs with cameras that have been found before.

    Args:
        cameras: with a first focal length, square pixels and the principal point.
        frame_camera: camera of each frame.
        matches: verified pairs; those without a fundamental matrix are left out, as they do not depend on it.
        settings: range and steps.

    Returns:
        The cameras with their focal lengths, and the votes.
    """
    found = list(cameras)
    general = [pair for pair in matches if pair.fundamental is not None]
    settled = {index for index, camera in enumerate(cameras) if camera.known}
    votes = [FocalVote(camera.focal, 0, camera.known) for camera in cameras]
    open_cameras = [index for index in range(len(cameras)) if index not in settled]
    own = {
        index: [pair for pair in general if {frame_camera[pair.first], frame_camera[pair.second]} == {index}]
        for index in open_cameras
    }
    for index in sorted(open_cameras, key=lambda camera: -len(own[camera])):
        across = [pair for pair in general if _partner(pair, frame_camera, index) in settled]
        vote = _vote(found, frame_camera, index, own[index] + across, settings)
        votes[index] = vote
        if vote.decided:
            found[index] = replace(found[index], fx=vote.focal, fy=vote.focal)
            settled.add(index)
    return found, votes


def _partner(pair: PairMatches, frame_camera: Sequence[int], camera: int) -> int | None:
    """The other camera of a pair between two cameras, one of which is `camera`."""
    ends = (frame_camera[pair.first], frame_camera[pair.second])
    if camera not in ends or ends[0] == ends[1]:
        return None
    return ends[1] if ends[0] == camera else ends[0]


def _vote(
    cameras: Sequence[Camera],
    frame_camera: Sequence[int],
    index: int,
    pairs: Sequence[PairMatches],
    settings: FocalSettings,
) -> FocalVote:
    pairs = sorted(pairs, key=lambda pair: -len(pair.rows))[: settings.max_pairs]
    if len(pairs) < settings.min_pairs:
        return FocalVote(cameras[index].focal, len(pairs), False)
    half = max(cameras[index].size) / 2
    widest, narrowest = (half / np.tan(np.radians(angle) / 2) for angle in settings.field_of_view[::-1])
    grid = np.geomspace(widest, narrowest, settings.steps)
    cost = np.zeros(len(grid))
    for pair in pairs:
        first = _intrinsics(cameras[frame_camera[pair.first]], grid if frame_camera[pair.first] == index else None)
        second = _intrinsics(cameras[frame_camera[pair.second]], grid if frame_camera[pair.second] == index else None)
        singular = np.linalg.svd(second.swapaxes(1, 2) @ pair.fundamental @ first, compute_uv=False)
        cost += np.minimum(singular[:, 0] / singular[:, 1] - 1, _CAP) * min(len(pair.rows), _MATCHES)
    return FocalVote(_minimum(grid, cost), len(pairs), _distinct(cost))


def _distinct(cost: NDArray[np.float64]) -> bool:
    """The minimum is one: lower than the rest by something, and not at an end of the range."""
    return bool(cost.min() < 0.95 * cost.max() and 0 < cost.argmin() < len(cost) - 1)


def _minimum(grid: NDArray[np.float64], cost: NDArray[np.float64]) -> float:
    """Lowest point of the parabola through the lowest three costs."""
    best = int(np.clip(cost.argmin(), 1, len(grid) - 2))
    left, middle, right = cost[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = float(np.clip((left - right) / (2 * bend), -1, 1)) if bend > 0 else 0.0
    return float(grid[best] * (grid[1] / grid[0]) ** shift)


def _intrinsics(camera: Camera, focals: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """(F, 3, 3) intrinsics of a camera with each focal length, or (1, 3, 3) with its own."""
    single = camera.matrix.numpy()[None]
    if focals is None:
        return single
    matrices = np.repeat(single, len(focals), axis=0)
    matrices[:, 0, 0] = matrices[:, 1, 1] = focals
    return matrices
