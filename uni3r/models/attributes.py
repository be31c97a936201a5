"""Raw attribute maps to Gaussians: one per pixel, centred at the pixel's point (Uni3R, section 3.2).

The channels of a pixel, in order: scale 3, rotation 4, opacity 1, harmonics (K, 3), features F, and, where the colour
is predicted, colour 3; then, by option, a correction of the depth 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.neighbours import mean_squared_neighbour_distance
from uni3r.gaussians.spherical_harmonics import CONSTANT

_SMALLEST_SQUARED_DISTANCE = 1e-7
_LARGEST_EXPONENT = 10.0
_HARMONIC_DAMPING = 0.25
_SCALE, _ROTATION, _OPACITY, _RGB = 3, 4, 1, 3


@dataclass(frozen=True)
class AttributeSettings:
    """Conversion of raw channels to Gaussians. The defaults are the published ones."""

    feature_channels: int = 64
    """Semantic channels of a Gaussian; 0 for none."""
    sh_degree: int = 3
    """Degree of the colour's harmonics."""
    scale: Literal["exponential", "softplus"] = "exponential"
    """``exponential``: 0.0025 exp(x) d, clamped to [0.1, 3] times the median of d, where d is the root mean squared
    distance to the three nearest points. Below the lower bound it has no gradient, and it starts there. ``softplus``:
    softplus(x) d, without bounds."""
    colour: Literal["predicted", "image"] = "predicted"
    """``predicted``: three channels c add 0.5 c to the colour (published). ``image``: the colour of the pixel is
    added, so that only a correction must be learned (LSM, Fan et al. 2024)."""
    depth_correction: bool = False
    """One more channel, last: an offset of the logarithm of a pixel's depth. Only for centres on rays."""
    least_pixels: float = 0.0
    """Smallest standard deviation, in pixels of the picture that a Gaussian comes from; 0: none (published). Only for
    centres on rays. Rasterizers widen everything by half a pixel. In training, smaller Gaussians hide behind that; to a
    camera that comes nearer they are dots (Mip-Splatting, Yu et al., CVPR 2024, has its 3-D filter for the same)."""

    @property
    def num_harmonics(self) -> int:
        """Coefficients per colour."""
        return (self.sh_degree + 1) ** 2

    @property
    def sizes(self) -> tuple[int, ...]:
        """Channels of scale, rotation, opacity, harmonics, features, colour and depth."""
        colour = _RGB if self.colour == "predicted" else 0
        harmonics, depth = self.num_harmonics * _RGB, int(self.depth_correction)
        return _SCALE, _ROTATION, _OPACITY, harmonics, self.feature_channels, colour, depth

    @property
    def channels(self) -> int:
        """Raw channels per pixel: 123 as published."""
        return sum(self.sizes)


def gaussians_from_attributes(
    raw: Tensor,
    points: Tensor,
    settings: AttributeSettings,
    images: Tensor | None = None,
    feature_residual: Tensor | None = None,
) -> Gaussians:
    """
    Args:
        raw: (B, V, H, W, A) channels, A as in ``settings``.
        points: (B, V, H, W, 3) centres in the frame of view 0.
        settings: see `AttributeSettings`.
        images: (B, V, 3, H, W) in [-1, 1]; needed where the colour comes from the image.
        feature_residual: (B, V, F, H, W) added to the features; None adds nothing.

    Returns:
        (B, V * H * W) Gaussians, pixels of view 0 first, row-major. Neighbour distances carry no gradient.

    Raises:
        ValueError: the number of channels does not match the settings.
    """
    if raw.shape[-1] != settings.channels:
        raise ValueError(f"expected {settings.channels} attribute channels per pixel, got {raw.shape[-1]}")
    flat = raw.flatten(1, 3)
    scale, rotation, opacity, harmonics, features, colour, _ = flat.split(settings.sizes, dim=-1)
    centres = points.flatten(1, 3)
    return Gaussians(
        means=centres,
        scales=_scales(scale, centres, settings.scale),
        rotations=F.normalize(rotation, dim=-1),
        opacities=opacity[..., 0].sigmoid(),
        harmonics=_harmonics(harmonics, colour, images, settings),
        features=_with_residual(features, feature_residual) if settings.feature_channels else None,
    )


def _scales(raw: Tensor, centres: Tensor, rule: str) -> Tensor:
    """(B, N, 3) standard deviations in units of the points' spacing."""
    squared = mean_squared_neighbour_distance(centres).clamp(min=_SMALLEST_SQUARED_DISTANCE)
    spacing = squared.sqrt()[..., None]
    if rule == "softplus":
        return F.softplus(raw) * spacing
    median = spacing.median(dim=1, keepdim=True).values
    scale = 0.0025 * raw.clamp(max=_LARGEST_EXPONENT).exp() * spacing
    return torch.minimum(torch.maximum(scale, 0.1 * median), 3 * median)


def _harmonics(raw: Tensor, colour: Tensor, images: Tensor | None, settings: AttributeSettings) -> Tensor:
    """(B, N, K, 3), damped by degree, with the base colour in the constant coefficient."""
    harmonics = raw.unflatten(-1, (settings.num_harmonics, _RGB)) * _damping(settings.sh_degree, raw)
    if settings.colour == "image":
        assert images is not None, "colours from the image need the images"
        colour = images.movedim(2, -1).flatten(1, 3)
    # Colour = DC * harmonic + 0.5, so that a colour of 0.5 c + 0.5 takes a DC of 0.5 c / harmonic.
    base = harmonics[..., :1, :] + (0.5 / CONSTANT) * colour[..., None, :]
    return torch.cat([base, harmonics[..., 1:, :]], dim=-2)


def _damping(degree: int, like: Tensor) -> Tensor:
    """(K, 1): 1 for degree 0, 0.5 * 0.25^l for degree l, so that colours hardly depend on the direction at first."""
    factors = [1.0] + [0.5 * _HARMONIC_DAMPING**order for order in range(1, degree + 1) for _ in range(2 * order + 1)]
    return like.new_tensor(factors)[:, None]


def _with_residual(features: Tensor, residual: Tensor | None) -> Tensor:
    return features if residual is None else features + residual.movedim(2, -1).flatten(1, 3)
