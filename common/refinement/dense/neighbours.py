"""Views to compare a frame with: those that see the same points from a moderately different place."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from common.refinement.dense.settings import NeighbourSettings
from common.refinement.dense.views import DenseViews
from common.refinement.types import Tracks

_SAMPLES = 16
"""Points along each side of a frame's grid that stand for its surface."""
_PARALLAX_SPREAD = 0.7
"""Standard deviation of the score over the log of the parallax."""
_CROWDING = 0.7
"""Share of its score that a view loses when it stands where a chosen one stands."""
_TRACK_LIMIT = 64
"""Observations of one track that count for common tracks; bounds the pairs that a long track makes."""
_CHUNK = 256
"""Frames scored at once."""


def candidate_views(count: int, posed: Tensor, tracks: Tracks, limit: int) -> Tensor:
    """Frames worth a closer look, by common tracks and by time; linear in the number of frames.

    Args:
        count: N, the number of frames.
        posed: (N,) bool; others are never candidates.
        tracks: of all frames.
        limit: candidates per frame.

    Returns:
        (N, min(limit, N - 1)) int64, padded with -1.
    """
    limit = max(0, min(limit, count - 1))
    result = np.full((count, limit), -1, dtype=np.int64)
    usable = posed.cpu().numpy()
    common = _common_tracks(count, tracks)
    offsets = _time_offsets(count)
    for frame in np.flatnonzero(usable):
        if count - 1 <= limit:
            chosen = np.delete(np.arange(count), frame)
        else:
            row = slice(common.indptr[frame], common.indptr[frame + 1])
            by_tracks = common.indices[row][np.argsort(-common.data[row], kind="stable")]
            by_time = frame + offsets
            by_time = by_time[(by_time >= 0) & (by_time < count)][: limit // 3]
            chosen = np.concatenate([by_time, by_tracks, frame + offsets])
            chosen = chosen[(chosen >= 0) & (chosen < count) & (chosen != frame)]
        chosen = chosen[usable[chosen]]
        _, first = np.unique(chosen, return_index=True)
        chosen = chosen[np.sort(first)][:limit]
        result[frame, : len(chosen)] = chosen
    return torch.from_numpy(result)


def choose_neighbours(
    views: DenseViews, depth: Tensor, candidates: Tensor, settings: NeighbourSettings
) -> list[Tensor]:
    """The best neighbours of each frame: overlap times parallax score, spread out in space.

    Args:
        views: frames at the scale of the depth.
        depth: (N, H, W), positive.
        candidates: (N, C) of `candidate_views`.
        settings: what makes a good neighbour.

    Returns:
        N tensors of frame numbers, best first, at most `settings.count` each; empty for a frame without a pose.
    """
    candidates = candidates.to(depth.device)
    chosen = []
    for start in range(0, len(depth), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(depth)))
        score, offset = _scores(views, depth, candidates[part], start, settings)
        chosen.append(_spread_out(score, offset, candidates[part], settings.count))
    return [row[row >= 0] for part in chosen for row in part]


def _scores(
    views: DenseViews, depth: Tensor, candidates: Tensor, start: int, settings: NeighbourSettings
) -> tuple[Tensor, Tensor]:
    """(F, C) scores, 0 for unfit views, and (F, C, 3) camera centres seen from the frames."""
    scores = depth.new_zeros(candidates.shape)
    offsets = depth.new_zeros(*candidates.shape, 3)
    posed = views.posed.tolist()
    for row in range(len(candidates)):
        others = candidates[row][candidates[row] >= 0]
        if not posed[start + row] or not len(others):
            continue
        points = _sample_points(views, depth, start + row)
        overlap, parallax, centres = _compare(views, start + row, others, points)
        low, high = settings.parallax
        fit = (overlap >= settings.min_overlap) & (parallax > low) & (parallax < high)
        distance = torch.log(parallax.clamp(min=1e-3) / settings.best_parallax) / _PARALLAX_SPREAD
        scores[row, : len(others)] = torch.where(fit, overlap * torch.exp(-0.5 * distance**2), 0)
        offsets[row, : len(others)] = centres
    return scores, offsets


def _sample_points(views: DenseViews, depth: Tensor, frame: int) -> Tensor:
    """(P, 3) points of the frame on a sparse grid, in its camera's axes."""
    height, width = depth.shape[-2:]
    rows = torch.linspace(0, height - 1, min(_SAMPLES, height), device=depth.device).round().long()
    columns = torch.linspace(0, width - 1, min(_SAMPLES, width), device=depth.device).round().long()
    rays = views.rays(frame)[rows[:, None], columns]
    return (rays * depth[frame][rows[:, None], columns][..., None]).reshape(-1, 3)


def _compare(views: DenseViews, frame: int, others: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Share of the points that each of (K,) views sees, median parallax of these in degrees, centres (K, 3)."""
    relative = views.relative(frame, others)
    centres = -(relative[:, :3, :3].mT @ relative[:, :3, 3:])[..., 0]
    moved = points @ relative[:, :3, :3].mT + relative[:, None, :3, 3]
    seen = (moved[..., 2] > 0) & views.inside(others, views.project(others, moved))
    # The angle at the point between the rays to both centres; atan2 keeps small angles.
    away = points - centres[:, None]
    cross = torch.linalg.cross(away, points.expand_as(away)).norm(dim=-1)
    angle = torch.rad2deg(torch.atan2(cross, (away * points).sum(dim=-1)))
    median = torch.where(seen, angle, torch.nan).nanmedian(dim=1).values
    return seen.float().mean(dim=1), torch.nan_to_num(median, nan=0.0), centres


def _spread_out(score: Tensor, offset: Tensor, candidates: Tensor, count: int) -> Tensor:
    """(F, count) frame numbers, -1 for none: the best first, then each discounted by its closeness to those chosen."""
    score = score.clone()
    result = candidates.new_full((len(score), count), -1)
    if not score.shape[1]:
        return result
    frames = torch.arange(len(score), device=score.device)
    distance = offset.norm(dim=-1)
    for place in range(min(count, score.shape[1])):
        best, index = score.max(dim=1)
        result[:, place] = torch.where(best > 0, candidates[frames, index], -1)
        chosen = offset[frames, index][:, None]
        scale = 0.25 * (distance + distance[frames, index][:, None])
        closeness = torch.exp(-(((offset - chosen).norm(dim=-1) / (scale + 1e-9)) ** 2))
        score = score * (1 - _CROWDING * closeness)
        score[frames, index] = 0
    return result


def _common_tracks(count: int, tracks: Tracks) -> sparse.csr_matrix:
    """(N, N) number of points that two frames share."""
    frame, point = tracks.frame.cpu().numpy(), tracks.point_index.cpu().numpy()
    order = np.argsort(point, kind="stable")
    frame, point = frame[order], point[order]
    length = np.bincount(point, minlength=len(tracks.point))
    place = np.arange(len(point)) - (np.cumsum(length) - length)[point]
    # A longer track counts at evenly spaced observations.
    keep = (place * _TRACK_LIMIT) % np.maximum(length[point], 1) < _TRACK_LIMIT
    seen = sparse.csr_matrix(
        (np.ones(int(keep.sum()), np.int32), (frame[keep], point[keep])), shape=(count, max(1, len(tracks.point)))
    )
    seen.data[:] = 1
    return (seen @ seen.T).tocsr()


def _time_offsets(count: int) -> np.ndarray:
    """0, then distances in time 1, -1, 2, -2 ... that grow by about a fifth each beyond 8."""
    steps, step = [], 1.0
    while step < count:
        steps.append(round(step))
        step = step + 1 if step < 8 else step * math.sqrt(1.5)
    return np.array([sign * step for step in steps for sign in (1, -1)], dtype=np.int64)
