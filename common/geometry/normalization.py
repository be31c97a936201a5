"""The unit of a scene: one scale for all pointmaps of a batch item (DUSt3R, Wang et al. 2024, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-8
"""Guards the scale of items without any valid pixel."""


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, values, torch.zeros_like(values)).sum(dim=1) / (valid.sum(dim=1) + EPSILON)


def _median(values: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, values, torch.nan).nanmedian(dim=1).values.nan_to_num(0.0)


SCALE_MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "avg_dis": _mean,
    "avg_log1p": lambda distance, valid: _mean(distance.log1p(), valid),
    "sqrt_dis": lambda distance, valid: _mean(distance.clamp(min=EPSILON).sqrt(), valid).square(),
    "median_dis": _median,
}
"""Functions from the distances of an item's points (B, P) and their validity (B, P) to its scale (B,).

All published weights were trained with ``avg_dis``; the others weigh far points less.
"""


def joint_scale(points: Tensor, valid: Tensor, mode: str = "avg_dis") -> Tensor:
    """One scale for all views of an item; by default the mean distance of its valid points from the origin.

    Args:
        points: (B, V, H, W, 3).
        valid: (B, V, H, W) bool.
        mode: one of `SCALE_MODES`.

    Returns:
        (B,) scale, at least 1e-8; divide by it to normalize. Differentiable in ``points``.
    """
    # Set to zero before the norm: gradients of invalid (possibly non-finite) points must not reach the sum.
    distance = torch.where(valid[..., None], points, torch.zeros_like(points)).norm(dim=-1)
    return SCALE_MODES[mode](distance.flatten(1), valid.flatten(1)).clamp(min=EPSILON)


def divide_by_scale(points: Tensor, scale: Tensor) -> Tensor:
    """(B, V, H, W, 3) over (B,)."""
    return points / scale.view(-1, *[1] * (points.ndim - 1))
