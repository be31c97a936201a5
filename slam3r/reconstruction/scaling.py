"""Normalization of pointmaps to the unit that the networks expect."""

from __future__ import annotations

import torch
from torch import Tensor

from common.geometry.normalization import divide_by_scale, joint_scale


def normalize_confident(points: Tensor, confidence: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Divide by the joint scale of the confident points of all views, and zero the others.

    Args:
        points: (B, V, H, W, 3); every batch item has a scale of its own.
        confidence: (B, V, H, W).
        threshold: points strictly above it count.

    Returns:
        The points (B, V, H, W, 3), and the (B, V, H, W) mask of those that are confident.
    """
    mask = confidence > threshold
    normalized = divide_by_scale(points, joint_scale(points, mask))
    return torch.where(mask[..., None], normalized, torch.zeros_like(normalized)), mask


def normalize_all(points: Tensor) -> tuple[Tensor, Tensor]:
    """Divide (B, V, H, W, 3) by the joint scale over all pixels; returns the points and the (B,) scales."""
    scale = joint_scale(points, torch.ones_like(points[..., 0], dtype=torch.bool))
    return divide_by_scale(points, scale), scale
