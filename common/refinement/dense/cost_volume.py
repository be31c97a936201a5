"""Photometric cost of depths along a frame's rays: zero-mean normalised cross-correlation with its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.refinement.dense.filters import window_sums
from common.refinement.dense.settings import SweepLevel, SweepSettings
from common.refinement.dense.views import DenseViews

UNSEEN = -2.0
"""Correlation of a window whose centre leaves the neighbour's picture."""
_CHUNK_CPU = 1 << 18
_CHUNK_GPU = 1 << 24


@dataclass(frozen=True)
class Reference:
    """A frame with what its correlation windows need; (H', W') is its grid with a margin of half a window."""

    grey: Tensor
    """(H', W') grey values."""
    base: Tensor
    """(H', W') depth in the middle of the search."""
    rays: Tensor
    """(H', W', 3) viewing rays with z = 1."""
    mean: Tensor
    """(H, W) sums over windows, divided by the number of pixels in one."""
    deviation: Tensor
    """(H, W) 1 / standard deviation of the windows, noise included."""


def matching_cost(
    views: DenseViews, frame: int, neighbours: Tensor, base: Tensor, level: SweepLevel, settings: SweepSettings
) -> Tensor:
    """Cost of `level.steps` depths around a base depth.

    Args:
        views: frames at the level's scale.
        frame: the reference.
        neighbours: (K,) frames to compare with, K > 0.
        base: (H, W) positive depth.
        level: search range and window.
        settings: shares and noise.

    Returns:
        (D, H, W): 1 minus the mean correlation with the best neighbours, 1 where no neighbour sees the point. Depth d
        is base * exp(level_steps(level)[d]).
    """
    noise = settings.noise**2
    reference = _reference(views, frame, base, level.window, noise)
    planes = [_warp_planes(views, frame, other, reference, level.window // 2) for other in neighbours.tolist()]
    keep = max(1, math.ceil(len(planes) * settings.best_share))
    shrink = torch.exp(-level_steps(level, base.device))
    cost = base.new_empty(level.steps, *base.shape)
    for part in _depth_chunks(level.steps, reference.grey.numel(), settings, base.device):
        best: list[Tensor] = []
        for plane in planes:
            _keep_best(best, plane.correlation(reference, shrink[part], level.window, noise), keep)
        cost[part] = 1 - _mean_of_seen(best)
    return cost


def level_steps(level: SweepLevel, device: torch.device | str = "cpu") -> Tensor:
    """(D,) log depth offsets of a level."""
    return torch.linspace(-level.half_range, level.half_range, level.steps, device=device)


@dataclass(frozen=True)
class _WarpPlanes:
    """Positions of the reference's points in a neighbour.

    A point at depth base * e lies at (along + offset / e) in homogeneous coordinates of the neighbour's picture, so
    that a depth costs one addition for each of the three.
    """

    picture: Tensor
    """(1, 1, h', w') grey with its border repeated; NaN where it may not be matched, and in a frame of one pixel."""
    along: Tensor
    """(3, H', W')."""
    offset: Tensor
    """(3,)."""
    lens: tuple[float, float, float, float, float] | None
    """fx, fy, cx, cy in coordinates of `grid_sample` and k1, where there is a radial term; else it is in `along`."""

    def correlation(self, reference: Reference, shrink: Tensor, window: int, noise: float) -> Tensor:
        """(D, H, W) correlation for depths base / shrink (D,); UNSEEN where the window's centre leaves the picture.

        NaN does the bookkeeping: samples that touch a pixel outside are NaN, and so is every sum that they are in.
        """
        grid = self._coordinates(shrink)
        flat = grid.reshape(1, -1, grid.shape[2], 2)
        moments = grid.new_empty(3, *grid.shape[:3])
        grey = F.grid_sample(self.picture, flat, padding_mode="border", align_corners=False).reshape(grid.shape[:3])
        moments[0] = grey
        torch.mul(grey, grey, out=moments[1])
        torch.mul(grey, reference.grey, out=moments[2])
        mean, square, product = window_sums(moments, window).mul_(1 / window**2)
        variance = square.addcmul_(mean, mean, value=-1).clamp_(min=0)
        covariance = product.addcmul_(mean, reference.mean, value=-1)
        correlation = covariance.mul_(variance.add_(noise).rsqrt_()).mul_(reference.deviation)
        return correlation.nan_to_num_(nan=UNSEEN)

    def _coordinates(self, shrink: Tensor) -> Tensor:
        """Coordinates (D, H', W', 2) for `grid_sample`; far outside for points behind the camera."""
        grid = self.along.new_empty(len(shrink), *self.along.shape[1:], 2)
        x, y, z = (self.along[axis] + (self.offset[axis] * shrink)[:, None, None] for axis in range(3))
        inverse = z.clamp_(min=1e-6).reciprocal_()
        if self.lens is None:
            torch.mul(x, inverse, out=grid[..., 0])
            torch.mul(y, inverse, out=grid[..., 1])
            return grid
        fx, fy, cx, cy, k1 = self.lens
        x.mul_(inverse)
        y.mul_(inverse)
        radial = (x * x).addcmul_(y, y).mul_(k1).add_(1)
        if k1 < 0:  # beyond this the model folds back into the picture
            radial.masked_fill_(radial < 2 / 3, 1e6)
        torch.add(x.mul_(radial).mul_(fx), cx, out=grid[..., 0])
        torch.add(y.mul_(radial).mul_(fy), cy, out=grid[..., 1])
        return grid


def _reference(views: DenseViews, frame: int, base: Tensor, window: int, noise: float) -> Reference:
    radius = window // 2
    grey = views.grey(frame, radius)
    extended = F.pad(base[None, None], (radius,) * 4, mode="replicate")[0, 0]
    moments = window_sums(torch.stack([grey, grey * grey]), window) / window**2
    variance = (moments[1] - moments[0] ** 2).clamp(min=0)
    return Reference(grey, extended, views.rays(frame, radius), moments[0], (variance + noise).rsqrt())


def _warp_planes(views: DenseViews, frame: int, other: int, reference: Reference, margin: int) -> _WarpPlanes:
    relative = views.relative(frame, torch.tensor([other], device=views.device))[0]
    along = (reference.rays * reference.base[..., None]) @ relative[:3, :3].T
    offset = relative[:3, 3]
    picture = views.pictures[other].float()
    mask = views.masks[other]
    if mask is not None:
        picture = picture.masked_fill(mask < 0.5, torch.nan)
    # The border is repeated by half a window: a window counts where its centre lies in the picture.
    picture = F.pad(picture[None, None], (margin,) * 4, mode="replicate")
    picture = F.pad(picture, (1, 1, 1, 1), value=torch.nan)
    height, width = picture.shape[-2:]
    border = margin + 1
    fx, fy, cx, cy, k1 = views.lens[other].tolist()
    # Pixels to the coordinates of grid_sample, -1 to 1 from edge to edge of the framed picture.
    fx, cx = 2 * fx / width, (2 * (cx + border) + 1) / width - 1
    fy, cy = 2 * fy / height, (2 * (cy + border) + 1) / height - 1
    if not k1:
        matrix = along.new_tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        along, offset = along @ matrix.T, matrix @ offset
    lens = (fx, fy, cx, cy, k1) if k1 else None
    return _WarpPlanes(picture, along.movedim(-1, 0).contiguous(), offset, lens)


def _depth_chunks(steps: int, pixels: int, settings: SweepSettings, device: torch.device) -> list[slice]:
    budget = settings.chunk_elements or (_CHUNK_CPU if device.type == "cpu" else _CHUNK_GPU)
    size = max(1, budget // pixels)
    return [slice(start, min(start + size, steps)) for start in range(0, steps, size)]


def _keep_best(best: list[Tensor], value: Tensor, keep: int) -> None:
    """Insert into a list of at most `keep` tensors, the largest first at every element."""
    for place, held in enumerate(best):
        best[place], value = torch.maximum(held, value), torch.minimum(held, value)
    if len(best) < keep:
        best.append(value)


def _mean_of_seen(values: list[Tensor]) -> Tensor:
    """Mean over the list of what is not UNSEEN, 0 where all is."""
    total, count = torch.zeros_like(values[0]), torch.zeros_like(values[0])
    for value in values:
        seen = value > UNSEEN + 0.5
        total += torch.where(seen, value, 0)
        count += seen
    return total / count.clamp_(min=1)
