"""The unit of a scene: one scale for all pointmaps of a batch item (DUSt3R, Wang et al. 2024, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8
"""Guards the scale of items without any valid pixel."""


def joint_scale(points: Tensor, valid: Tensor) -> Tensor:
    """Mean distance from the origin over the valid points of all views of an item.

    Args:
        points: (B, V, H, W, 3).
        valid: (B, V, H, W) bool.

    Returns:
        (B,) scale, at least 1e-8; divide by it to normalize. Differentiable in ``points``.
    """
    # Zero before the norm: its gradient at invalid (possibly non-finite) points must not reach the sum.
    distance = torch.where(valid[..., None], points, torch.zeros_like(points)).norm(dim=-1)
    total = distance.flatten(1).sum(dim=1)
    count = valid.flatten(1).sum(dim=1)
    return (total / (count + EPSILON)).clamp(min=EPSILON)


def divide_by_scale(points: Tensor, scale: Tensor) -> Tensor:
    """(B, V, H, W, 3) over (B,)."""
    return points / scale.view(-1, *[1] * (points.ndim - 1))
