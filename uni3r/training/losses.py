"""Losses on rendered views, as pure functions: colour, language features, depth.

Uni3R (arXiv 2508.03643) sections 3.3 and 3.4; the loss of geometry is in `uni3r.training.geometry_distillation`, LPIPS
in `common.metrics.lpips`. All are means, so that their scale does not depend on the number of views, pixels or batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.metrics.image import ssim
from common.views import Pointmaps


def l1_loss(rendered: Tensor, images: Tensor) -> Tensor:
    """Mean absolute difference of (..., 3, H, W) in [0, 1]; renderings are not clamped."""
    return (rendered - images).abs().mean()


def mse_loss(rendered: Tensor, images: Tensor) -> Tensor:
    """Mean squared difference of (..., 3, H, W) in [0, 1]; renderings are not clamped."""
    return (rendered - images).square().mean()


def ssim_loss(rendered: Tensor, images: Tensor) -> Tensor:
    """1 - SSIM, mean over images (..., 3, H, W) in [0, 1]; see `common.metrics.image.ssim`."""
    return 1 - ssim(rendered.flatten(0, -4).float(), images.flatten(0, -4).float()).mean()


def feature_loss(
    features: Tensor, target: Tensor, valid: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """1 - cosine similarity between feature maps, mean over valid pixels.

    Args:
        features: (..., C, h, w) of the rendering.
        target: (..., C, h, w) of the true view.
        valid: (..., h, w) bool; all where None.
        weights: (..., h, w) pixel weights, 0 or more, for a weighted mean; None weights all equally.
    """
    distance = 1 - torch.cosine_similarity(features.float(), target.float(), dim=-3)
    if weights is not None:
        kept = weights if valid is None else torch.where(valid, weights, 0.0)
        return (distance * kept).sum() / kept.sum().clamp(min=1e-6)
    return distance.mean() if valid is None else _masked_mean(distance, valid)


def pixel_weights(labels: Tensor, class_weights: Tensor) -> Tensor:
    """Weights (..., H, W) of pixels by their class.

    Rare classes contribute little to a mean over pixels: a room is mostly wall. Class shares to the power of -1 balance
    them entirely ("median frequency balancing" of Eigen and Fergus, ICCV 2015), -1/2 is a compromise.

    Args:
        labels: (..., H, W) integer classes; any other number, such as 255, has weight 0.
        class_weights: (K,), 0 or more.
    """
    known = (labels >= 0) & (labels < len(class_weights))
    return torch.where(known, class_weights[torch.where(known, labels, 0).long()], 0.0)


def pointmap_loss(
    predicted: Pointmaps, truth: Tensor, valid: Tensor, alpha: float | None = 0.2
) -> tuple[Tensor, Tensor]:
    """Distance between pointmaps of one unit, weighted by the confidence: ``C * d - alpha * log C`` (DUSt3R, Wang et
    al. 2024, equation 4, without its normalization: the unit is learned as well).

    Args:
        predicted: (B, V, H, W, ..).
        truth: (B, V, H, W, 3) in the same frame and unit.
        valid: (B, V, H, W) bool.
        alpha: weight of the confidence reward; None ignores the confidence.

    Returns:
        The loss, and the mean distance without gradient. Both are 0 without a valid pixel.
    """
    difference = torch.where(valid[..., None], predicted.points - truth, torch.zeros_like(predicted.points))
    distance = difference.norm(dim=-1)
    mean = _masked_mean(distance.detach(), valid)
    if alpha is None:
        return _masked_mean(distance, valid), mean
    confidence = predicted.confidence
    return _masked_mean(distance * confidence - alpha * confidence.log(), valid), mean


def depth_loss(depth: Tensor, alpha: Tensor, truth: Tensor, min_alpha: float = 0.5) -> Tensor:
    """Mean absolute relative error of rendered depth, where truth exists and the rendering is opaque enough.

    Args:
        depth: (..., H, W) accumulated depth, which is divided by alpha.
        alpha: (..., H, W) opacity of the rendering.
        truth: (..., H, W) in the unit of the rendering; 0 where invalid.
        min_alpha: pixels of lower opacity are ignored.
    """
    valid = (truth > 0) & truth.isfinite() & (alpha.detach() > min_alpha)
    expected = depth / alpha.clamp_min(min_alpha)
    safe = torch.where(valid, truth, 1.0)
    return _masked_mean((expected - safe).abs() / safe, valid)


def _masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, values, torch.zeros_like(values)).sum() / valid.sum().clamp(min=1)
