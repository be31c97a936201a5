"""Coarse-to-fine search of depths that make the neighbours' pictures agree; poses and lenses stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.refinement.dense.aggregation import aggregate
from common.refinement.dense.chunks import in_parallel
from common.refinement.dense.cost_volume import level_steps, matching_cost
from common.refinement.dense.filters import median_filter
from common.refinement.dense.neighbours import choose_neighbours
from common.refinement.dense.peak import find_peak
from common.refinement.dense.settings import GivenDepthSettings, NeighbourSettings, SweepLevel, SweepSettings
from common.refinement.dense.views import DenseViews

_BATCH_CPU = 1 << 22
_BATCH_GPU = 1 << 26


@dataclass(frozen=True)
class Sweep:
    """Depth that the pictures agree on; where no neighbour was found, the depth that came in."""

    depth: Tensor
    """(N, H, W)."""
    correlation: Tensor
    """(N, H, W) with the best neighbours at that depth; 0 where no neighbour was found."""


@dataclass(frozen=True)
class Held:
    """Measured pixels, which the search leaves only for good reasons."""

    known: Tensor
    """(N, H, W) float32 on the network's grid, 1 where the present depth was measured."""
    settings: GivenDepthSettings


def sweep_level(
    views: DenseViews,
    depth: Tensor,
    candidates: Tensor,
    level: SweepLevel,
    settings: SweepSettings,
    neighbour_settings: NeighbourSettings,
    advance: Callable[[int], None] | None = None,
    held: Held | None = None,
) -> Sweep:
    """One level of the search.

    Args:
        views: frames at the level's scale.
        depth: (N, H, W), positive, on the network's grid.
        candidates: (N, C) of `candidate_views`.
        level: range, steps and window.
        settings: of the sweep.
        neighbour_settings: choice of the views compared with.
        advance: called with a number of frames that are done.
        held: pixels whose present depth was measured; None without any.
    """
    base = resize(depth.log(), views.size).exp_()
    neighbours = choose_neighbours(views, base, candidates, neighbour_settings)
    searched = [frame for frame, others in enumerate(neighbours) if len(others)]
    result, correlation = depth.clone(), torch.zeros_like(depth)
    if advance is not None:
        advance(len(depth) - len(searched))
    volume = level.steps * views.size[0] * views.size[1]
    batch = max(1, (_BATCH_CPU if depth.device.type == "cpu" else _BATCH_GPU) // volume)
    batches = [searched[start : start + batch] for start in range(0, len(searched), batch)]

    def search(frames: list[int]) -> tuple[Tensor, Tensor]:
        delta, found = _search(views, frames, base, neighbours, level, settings, held)
        return resize(delta, depth.shape[-2:]), resize(found, depth.shape[-2:])

    for frames, (delta, found) in zip(batches, in_parallel(search, batches, depth.device), strict=True):
        result[frames] = depth[frames] * delta.exp()
        correlation[frames] = found
        if advance is not None:
            advance(len(frames))
    return Sweep(result, correlation)


def resize(values: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(N, h, w) to (N, *size), bilinear, antialiased where smaller."""
    if tuple(values.shape[-2:]) == tuple(size):
        return values.clone()
    smaller = values.shape[-1] > size[1]
    return F.interpolate(values[:, None], tuple(size), mode="bilinear", align_corners=False, antialias=smaller)[:, 0]


def _search(
    views: DenseViews,
    frames: list[int],
    base: Tensor,
    neighbours: list[Tensor],
    level: SweepLevel,
    settings: SweepSettings,
    held: Held | None,
) -> tuple[Tensor, Tensor]:
    """(B, h, w) log depth offsets and correlations of some frames, on the level's grid."""
    cost = torch.stack([matching_cost(views, f, neighbours[f], base[f], level, settings) for f in frames])
    guide = torch.stack([views.grey(frame) for frame in frames])
    steps = level_steps(level, cost.device)
    biased = cost + level.prior * steps.abs()[:, None, None] if level.prior else cost
    if held is not None:
        departure = (steps.abs() / held.settings.deviation).clamp(max=1)[:, None, None]
        biased = biased + held.settings.cost * departure * resize(held.known[frames], views.size)[:, None]
    position, correlation = find_peak(aggregate(biased, guide, settings.aggregation), cost)
    spacing = 2 * level.half_range / max(1, level.steps - 1)
    return median_filter(position * spacing - level.half_range, level.median), correlation
