"""Rendered depth, features and labels as pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.drawing.colors import color_depth, depth_limits

_PCA_SAMPLES = 20_000
_TAILS = (0.02, 0.98)
"""Quantiles that become black and white."""


def color_image(image: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) of a rendering (3, H, W) in [0, 1], clamped."""
    return (image.detach().clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()


def depth_image(depth: Tensor, alpha: Tensor, nearest: float, farthest: float) -> NDArray[np.uint8]:
    """(H, W, 3) of depth and alpha (H, W) of a rendering in the colours of `common.drawing.colors.color_depth`.

    Args:
        depth: accumulated depth, which is divided by alpha.
        alpha: opacity of the rendering; where it is 0.1 or less, the depth is unknown.
        nearest: depth at the near end of the colours, the same for all frames of a video.
        farthest: depth at the far end.
    """
    return color_depth(_expected(depth, alpha, 0.1), (nearest, farthest))


def depth_range(depth: Tensor, alpha: Tensor) -> tuple[float, float]:
    """Nearest and farthest depth worth a colour, of renderings (..., H, W); (1, 2) where there is nothing."""
    return depth_limits(_expected(depth, alpha, 0.5))


def _expected(depth: Tensor, alpha: Tensor, least: float) -> NDArray[np.float32]:
    """Accumulated depth over alpha, 0 where alpha is not above the least."""
    mean = depth / alpha.clamp_min(1e-8)
    return torch.where(alpha > least, mean, 0).detach().float().cpu().numpy()


@dataclass(frozen=True)
class FeatureColors:
    """Three principal components of a scene's features as red, green and blue; fitted once for all frames."""

    mean: Tensor
    """(C,)."""
    axes: Tensor
    """(C, 3) unit principal directions; columns of zeros where C < 3."""
    low: Tensor
    """(3,) coordinate that becomes 0."""
    high: Tensor
    """(3,) coordinate that becomes 1."""

    @classmethod
    def fit(cls, features: Tensor, weights: Tensor | None = None) -> FeatureColors:
        """Principal components of unit features.

        Args:
            features: (N, C) of the Gaussians.
            weights: (N,) their opacities; equal where None.
        """
        features = features.detach().float()
        if len(features) > _PCA_SAMPLES:
            chosen = torch.linspace(0, len(features) - 1, _PCA_SAMPLES, device=features.device).long()
            features, weights = features[chosen], None if weights is None else weights[chosen]
        units = torch.nn.functional.normalize(features, dim=-1)
        share = units.new_ones(len(units)) if weights is None else weights.detach().float()
        share = (share / share.sum().clamp_min(1e-12))[:, None]
        mean = (share * units).sum(dim=0)
        centred = units - mean
        axes = torch.linalg.eigh((share * centred).mT @ centred).eigenvectors.flip(-1)[:, :3]
        signs = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()  # else the solver's choice
        axes = torch.nn.functional.pad(axes * signs, (0, 3 - axes.shape[1]))
        coordinates = np.quantile((centred @ axes).cpu().numpy(), _TAILS, axis=0)
        low, high = torch.from_numpy(coordinates).to(mean)
        return cls(mean, axes, low, high)

    def __call__(self, features: Tensor, alpha: Tensor) -> NDArray[np.uint8]:
        """(H, W, 3) of rendered features (C, H, W); fades to black with alpha (H, W)."""
        units = torch.nn.functional.normalize(features.detach().float().movedim(0, -1), dim=-1)
        shade = ((units - self.mean) @ self.axes - self.low) / (self.high - self.low).clamp_min(1e-6)
        return color_image((shade.clamp(0, 1) * alpha.detach().clamp(0, 1)[..., None]).movedim(-1, 0))
