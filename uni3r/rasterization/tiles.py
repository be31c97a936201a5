"""Lists of the splats that touch each image tile, from front to back."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from uni3r.rasterization.projection import Splats
from uni3r.rasterization.rendering import TILE_SIZES

_SLACK = 1e-3
"""Pixels of tolerance at a splat's edge; blending decides exactly."""


class TileLists(NamedTuple):
    """The splats of every tile, in one array. Memory is linear in the number of (tile, splat) pairs."""

    splats: Tensor
    """(P,) int64 index of a splat; tile after tile, each from front to back."""
    starts: Tensor
    """(T + 1,) int64; tile t holds ``splats[starts[t] : starts[t + 1]]``. Tiles are in row-major order."""
    grid: tuple[int, int]
    """Rows and columns of tiles."""
    tile_size: int
    """Pixels along a side."""


@torch.no_grad()
def list_tiles(
    splats: Splats, opacities: Tensor, size: tuple[int, int], min_alpha: float, tile_size: int | None, channels: int
) -> TileLists:
    """Sort splats into tiles and by depth; ties in depth are ordered by index.

    Args:
        splats: splats of N Gaussians.
        opacities: (N,).
        size: (height, width) of the image.
        min_alpha: alpha that bounds the extent of a splat.
        tile_size: pixels along a side; None takes the fastest of `TILE_SIZES` according to a cost model.
        channels: number of blended channels, for the cost model.
    """
    boxes, seen = _pixel_boxes(splats, opacities, size, min_alpha)
    visible = seen.nonzero()[:, 0]
    visible = visible[_sort_key(splats.depths[visible]).argsort(stable=True)]
    boxes = boxes[:, visible]
    if tile_size is None:
        costs = {side: int(_tile_counts(boxes, side).sum()) * _pair_cost(side, channels) for side in TILE_SIZES}
        tile_size = min(costs, key=lambda side: costs[side])
    rows, columns = math.ceil(size[0] / tile_size), math.ceil(size[1] / tile_size)
    left, top, right, _ = boxes // tile_size
    counts = _tile_counts(boxes, tile_size)
    owner = torch.arange(len(visible)).repeat_interleave(counts)
    rank = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    width = (right - left + 1)[owner]
    tile = (top[owner] + rank // width) * columns + left[owner] + rank % width
    # 32-bit integers are sorted by radix; stable, so that the order in depth is kept.
    tile, order = tile.to(torch.int32).sort(stable=True)
    starts = torch.searchsorted(tile, torch.arange(rows * columns + 1, dtype=torch.int32))
    return TileLists(visible[owner[order]], starts, (rows, columns), tile_size)


def _pixel_boxes(splats: Splats, opacities: Tensor, size: tuple[int, int], min_alpha: float) -> tuple[Tensor, Tensor]:
    """Pixel bounds (left, top, right, bottom), (4, N) int64, of splats, and a mask of those that reach any pixel.

    Alpha is at least `min_alpha` inside an ellipse whose bounding box is exact: its half sides are
    sqrt(2 ln(opacity / min_alpha) * variance).
    """
    reach = (2 * (opacities / min_alpha).clamp(min=1).log()).sqrt()
    radii = reach * splats.variances.T.sqrt() + _SLACK
    last = splats.centres.new_tensor([size[1], size[0]])[:, None] - 1
    lower = (splats.centres.T - radii - 0.5).ceil().clamp(min=0)
    upper = (splats.centres.T + radii - 0.5).floor().minimum(last)
    seen = splats.in_range & (opacities >= min_alpha) & (lower <= upper).all(0)
    boxes = torch.cat([lower.minimum(last), upper.clamp(min=0)])
    return torch.where(seen, boxes, 0).long(), seen


def _tile_counts(boxes: Tensor, side: int) -> Tensor:
    left, top, right, bottom = boxes // side
    return (right - left + 1) * (bottom - top + 1)


def _pair_cost(side: int, channels: int) -> float:
    """Relative time of one (tile, splat) pair, forward and backward: fetching and accumulating values, blending pixels.

    Fitted to both workloads of `uni3r.profiling.rasterizer` with splats of half a pixel and of one.
    """
    return 60 + 3 * channels + side * side * (5 + 0.13 * channels)


def _sort_key(depths: Tensor) -> Tensor:
    """Positive depths as integers of the same order, which sort five times as fast."""
    return depths.view(torch.int32) if depths.dtype == torch.float32 else depths
