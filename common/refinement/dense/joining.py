"""Completion of what no other view confirms: the correction found nearby is carried over, following the picture."""

from __future__ import annotations

import torch
from torch import Tensor

from common.refinement.dense.filters import guided_filter
from common.refinement.dense.settings import REFERENCE_SIDE, JoiningSettings


def join_depth(
    prior: Tensor, swept: Tensor, weight: Tensor, keep: Tensor, grey: Tensor, settings: JoiningSettings
) -> Tensor:
    """Depth without holes.

    Args:
        prior: (N, H, W) positive depth before the sweep.
        swept: (N, H, W) positive depth after it.
        weight: (N, H, W) trust in `swept`, 0 to 1.
        keep: (N, H, W) bool, pixels that keep `swept` as it is.
        grey: (N, H, W) pictures in [0, 1].
        settings: filters.

    Returns:
        (N, H, W): `swept` where kept, elsewhere the prior with the smoothed correction of trusted pixels; far from
        any, the prior itself.
    """
    correction = (swept / prior).log()
    parts = torch.stack([weight * correction, weight])
    total, mass = parts.clone()
    share = 0.3
    for radius in settings.radii:
        pixels = max(1, round(radius * min(prior.shape[-2:]) / REFERENCE_SIDE))
        smoothed, reach = guided_filter(parts, grey, pixels, settings.edge)
        total += share * smoothed
        mass += share * reach.clamp(min=0)
        share /= 2
    filled = (total / (mass + settings.prior)).clamp(-settings.limit, settings.limit)
    return torch.where(keep, swept, prior * filled.exp())


def trust(agree: Tensor, correlation: Tensor, min_views: int) -> Tensor:
    """(N, H, W) weights for `join_depth` from the views that agree (N, H, W) and their correlation."""
    support = ((agree.float() - 1) / 3).clamp(0, 1)
    return support * ((correlation - 0.2) / 0.4).clamp(0.1, 1) * (agree >= min_views)
