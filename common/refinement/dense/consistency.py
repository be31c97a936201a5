"""Number of other views that agree with a depth: the confidence of a refined point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.refinement.dense.chunks import in_parallel
from common.refinement.dense.settings import REFERENCE_SIDE, ConsistencySettings
from common.refinement.dense.views import DenseViews

_ANGLES = 1 << 20
"""Pixels whose angles are looked at for their median, about."""


@dataclass(frozen=True)
class Agreement:
    """Answers of the neighbours' own depths at each pixel; (N, H, W) tensors."""

    agree: Tensor
    """uint8, number of neighbours whose depth agrees."""
    seen: Tensor
    """uint8, number of neighbours that could see the point: it falls on their grid and nothing lies before it."""
    parallax: Tensor
    """float16 degrees, the widest angle at the point between this camera and one that agrees; 0 where none does, or
    where angles were not asked for."""

    def __getitem__(self, part: slice) -> Agreement:
        """Some of the frames."""
        return Agreement(self.agree[part], self.seen[part], self.parallax[part])


def count_agreement(
    views: DenseViews, depth: Tensor, neighbours: list[Tensor], settings: ConsistencySettings, angles: bool = True
) -> Agreement:
    """Compare each depth with those that its neighbours have for the same place.

    Args:
        views: frames at the depth's grid.
        depth: (N, H, W), positive.
        neighbours: frame numbers to ask, for each frame.
        settings: tolerance.
        angles: find `Agreement.parallax`, which takes about a third of the time.
    """
    agree = torch.zeros(depth.shape, dtype=torch.uint8, device=depth.device)
    seen = torch.zeros_like(agree)
    parallax = torch.zeros(depth.shape, dtype=torch.float16, device=depth.device)
    usable = torch.stack([views.usable(frame) for frame in range(len(views))])
    asking = [frame for frame, others in enumerate(neighbours) if len(others)]

    def ask(frame: int) -> tuple[Tensor, Tensor, Tensor]:
        return _ask(views, frame, neighbours[frame], depth, usable, settings.tolerance, angles)

    for frame, answer in zip(asking, in_parallel(ask, asking, depth.device), strict=True):
        agree[frame], seen[frame], parallax[frame] = answer
    return Agreement(agree * usable, seen * usable, parallax * usable)


def beside_jump(depth: Tensor, settings: ConsistencySettings) -> Tensor:
    """(N, H, W) bool, pixels next to a depth jump, where windows mix two surfaces."""
    logs = depth.log()[:, None]
    highest = F.max_pool2d(F.pad(logs, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    lowest = -F.max_pool2d(F.pad(-logs, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    jump = (highest - lowest > settings.jump).to(depth.dtype)
    margin = round(settings.jump_margin * min(depth.shape[-2:]) / REFERENCE_SIDE)
    return F.max_pool2d(jump, 2 * margin + 1, stride=1, padding=margin)[:, 0] > 0


def required_parallax(parallax: Tensor, settings: ConsistencySettings) -> float:
    """Angle in degrees that agreeing views must reach at a point, given (N, H, W) the widest at each pixel.

    A camera that hardly moved reaches the usual angle nowhere: half of what it usually reaches then has to do.
    """
    reached = parallax.flatten()[:: max(1, parallax.numel() // _ANGLES)].float()
    reached = reached[reached > 0]
    return min(settings.min_parallax, 0.5 * float(reached.median())) if len(reached) else settings.min_parallax


def confirmed_pixels(
    depth: Tensor,
    prior: Tensor,
    correlation: Tensor,
    found: Agreement,
    parallax: float,
    settings: ConsistencySettings,
) -> Tensor:
    """Find the pixels that the pictures and enough other views support.

    What departs from the prediction needs more support: a glossy door mirrors a room that several views agree on.
    Views that stand close together share the error of the prediction that they started from, and confirm nothing.

    Args:
        depth: (N, H, W), positive.
        prior: (N, H, W) depth before the search.
        correlation: (N, H, W) with the best neighbours.
        found: what the neighbours say.
        parallax: widest angle under which agreeing views must see a point, at least; of `required_parallax`.
        settings: thresholds.

    Returns:
        (N, H, W) bool; never beside a depth jump.
    """
    needed = settings.min_views + ((depth / prior).log().abs() / settings.departure).floor()
    supported = (found.agree >= needed) & (found.agree >= settings.min_share * found.seen)
    supported &= (found.parallax >= parallax) & (correlation >= settings.min_correlation)
    return supported & ~beside_jump(depth, settings)


def confirmed_share(confirmed: Tensor, posed: Tensor) -> float:
    """Share of confirmed pixels (N, H, W) in the frames that have a pose (N,); the evidence of the dense stages."""
    return float(confirmed[posed].float().mean()) if bool(posed.any()) else 0.0


def _ask(
    views: DenseViews, frame: int, others: Tensor, depth: Tensor, usable: Tensor, tolerance: float, angles: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(H, W) counts of the views that agree and that could, and the widest angle, of one frame."""
    height, width = depth.shape[-2:]
    relative = views.relative(frame, others)
    points = (views.rays(frame) * depth[frame][..., None]).reshape(1, -1, 3)
    moved = points @ relative[:, :3, :3].mT + relative[:, None, :3, 3]
    grid = views.to_grid(others, views.project(others, moved)).reshape(len(others), height, width, 2)
    own = moved[..., 2].reshape(len(others), height, width)
    x, y = torch.floor(grid + 0.5).unbind(dim=-1)
    hit = (own > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    # Masked before the conversion: a point in the camera's plane projects to infinity, which has no integer.
    index = torch.where(hit, y * width + x, 0).long()
    flat = others[:, None, None]
    theirs = depth.flatten(1)[flat, index]
    hit &= usable.flatten(1)[flat, index]
    close = hit & ((own - theirs).abs() < tolerance * own)
    free = hit & (theirs > own * (1 - tolerance))
    widest = torch.zeros_like(depth[frame])
    if angles:
        angle = _parallax(points, moved, relative[:, :3, 3]).reshape(len(others), height, width)
        widest = (angle * close).amax(dim=0)
    return close.sum(dim=0).to(torch.uint8), free.sum(dim=0).to(torch.uint8), widest.half()


def _parallax(points: Tensor, moved: Tensor, offset: Tensor) -> Tensor:
    """(K, P) angles in degrees at points (1, P, 3) that K other cameras, (K, 3) away, see at (K, P, 3).

    The law of cosines: both distances and the one between the cameras are known.
    """
    here, there = points.norm(dim=-1), moved.norm(dim=-1)
    between = offset.norm(dim=-1)[:, None]
    cosine = (here**2 + there**2 - between**2) / (2 * here * there).clamp(min=1e-12)
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
