"""Terms of the training loss: weights, and values for one prediction and its rendering.

Uni3R (arXiv 2508.03643) sections 3.3 and 3.4. The losses themselves are pure functions in `uni3r.training.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from common.geometry.normalization import divide_by_scale, joint_scale
from common.views import Pointmaps, Views
from uni3r.models.feature_compressor import FeatureCompressor, resize_features
from uni3r.models.scene_unit import context_points
from uni3r.rasterization import Rendering
from uni3r.training.losses import depth_loss, feature_loss, l1_loss, mse_loss, pixel_weights, pointmap_loss, ssim_loss

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distances (...) of images (..., 3, H, W) in [0, 1], such as `common.metrics.lpips.Lpips`."""


@dataclass(frozen=True)
class LossWeights:
    """Weight of every term; 0 leaves it out. The defaults are the published ones."""

    l1: float = 1.0
    mse: float = 0.0
    ssim: float = 0.0
    """Not used by the published recipe, although its code has the option."""
    lpips: float = 0.05
    feature: float = 0.2
    """0.2 in the published code, 0.02 in the paper."""
    context_feature: float = 0.0
    """Like ``feature``, on the context's own pixels before rendering. Not published: for features that learn slowly,
    since steps without any rendered term need no rendering and are cheaper."""
    geometry: float = 0.005
    """Distillation from the pointmap teacher."""
    depth: float = 0.0
    """Relative error of the rendered depth, if the data has true depth."""
    pointmap: float = 0.0
    """Distance of the Gaussian centres from the true points, if the data has true depth."""


RENDERED_TERMS = ("l1", "mse", "ssim", "lpips", "feature", "depth")
"""Terms of `LossWeights` that need a rendering."""


def color_terms(image: Tensor, truth: Tensor, weights: LossWeights, perceptual: Perceptual | None) -> dict[str, Tensor]:
    """Terms of the rendered colours that have a weight, and ``psnr`` (dB, pooled over all views), without gradient.

    Args:
        image: (B, V, 3, H, W) rendered, in [0, 1], not clamped.
        truth: (B, V, 3, H, W) in [0, 1].
        weights: a term of weight 0 is not computed.
        perceptual: distance for ``lpips``; not needed if its weight is 0.
    """
    functions: dict[str, Perceptual] = {"l1": l1_loss, "mse": mse_loss, "ssim": ssim_loss}
    terms = {name: loss(image, truth) for name, loss in functions.items() if getattr(weights, name)}
    if weights.lpips:
        assert perceptual is not None, "the loss term lpips needs a network"
        terms["lpips"] = perceptual(image, truth).mean()
    terms["psnr"] = -10 * mse_loss(image.detach(), truth).clamp_min(1e-10).log10()
    return terms


def feature_term(
    features: Tensor,
    target: Tensor,
    labels: Tensor | None,
    class_weights: Tensor | None,
    compressor: FeatureCompressor | None,
) -> Tensor:
    """Distance of features from a teacher's features of the same views; see `uni3r.training.losses.feature_loss`.

    Args:
        features: (B, V, C, h, w) rendered, or of the Gaussians' own pixels.
        target: (B, V, T, H, W) teacher features; pixels with zero vectors are ignored.
        labels: (B, V, H, W) labels of the views; needed with `class_weights`.
        class_weights: (K,) pixel weights by class; None weights all equally.
        compressor: expands features of another width than the teacher's; None where they have the same.

    Raises:
        ValueError: there are class weights, and the views have no labels.
    """
    if compressor is not None and features.shape[2] != target.shape[2]:
        features = compressor.expand(features)
    size = (features.shape[-2], features.shape[-1])
    target = resize_features(target, size)
    weights = None
    if class_weights is not None:
        if labels is None:
            raise ValueError("class_weights weigh labels, and these views have none")
        weights = pixel_weights(labels, class_weights.to(target.device))
        weights = resize_features(weights[:, :, None], size)[:, :, 0]
    return feature_loss(features, target, target.norm(dim=2) > 0, weights)


def depth_term(rendering: Rendering, depth: Tensor | None, unit: Tensor) -> Tensor:
    """Relative error of the rendered depth; see `uni3r.training.losses.depth_loss`.

    Args:
        rendering: (B, V, ..).
        depth: (B, V, H, W) true depth in metres, 0 where invalid.
        unit: (B,) unit of the rendered world, metres.
    """
    assert depth is not None, "the depth loss needs depth"
    return depth_loss(rendering.depth, rendering.alpha, depth / unit.view(-1, 1, 1, 1))


def pointmap_term(predicted: Pointmaps, context: Views, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of predicted points from the true ones, relative to the size of the scene, so independent of the unit.

    Args:
        predicted: (B, V, H, W, ..) in the frame of camera 0.
        context: (B, V) with depth and cameras.
        unit: (B,) unit of the predicted points, metres.

    Returns:
        The loss, and without gradient the mean distance over the mean distance of the true points from camera 0.
    """
    points, valid = context_points(context)
    scale = joint_scale(points, valid)
    relative = Pointmaps(divide_by_scale(predicted.points, scale / unit), predicted.confidence)
    return pointmap_loss(relative, divide_by_scale(points, scale), valid)
