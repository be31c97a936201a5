"""Settings and result of a rasterizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from common.views import TensorFields

TILE_SIZES = (4, 8, 16)
"""Supported tile sizes of the CPU back end, pixels along a side."""


@dataclass
class Rendering(TensorFields):
    """Images of Gaussians in V cameras. Nothing is divided by alpha, and no background is added."""

    image: Tensor
    """(B, V, 3, H, W) RGB as accumulated: [0, 1] for colours in [0, 1], not clamped."""
    features: Tensor | None
    """(B, V, C, H, W) accumulated features; None if the Gaussians have none."""
    depth: Tensor
    """(B, V, H, W) accumulated depth along z, sum of weight * z, in the unit of the scene."""
    alpha: Tensor
    """(B, V, H, W) sum of the weights, in [0, 1)."""


@dataclass(frozen=True)
class RasterizationSettings:
    """Constants of the renderer. The defaults are those of gsplat 1.5, with which Uni3R's weights were trained."""

    eps2d: float = 0.3
    """Variance added to the image of every Gaussian, square pixels: keeps splats at least about a pixel wide."""
    max_alpha: float = 0.999
    """Upper bound of a splat's alpha in a pixel. gsplat 1.6 uses 0.99."""
    min_alpha: float = 1 / 255
    """Splats with a smaller alpha in a pixel are skipped there."""
    min_transmittance: float = 1e-4
    """A pixel stops before the splat that would reduce its transmittance to this value or less."""
    backend: Literal["auto", "torch", "gsplat"] = "auto"
    """auto: gsplat for tensors on CUDA, ours elsewhere."""
    tile_size: int | None = None
    """Pixels along a side of the CPU back end's tiles: 4, 8 or 16. None chooses the fastest for the splats."""

    def __post_init__(self) -> None:
        if self.backend not in ("auto", "torch", "gsplat"):
            raise ValueError(f"backend: expected auto, torch or gsplat, got {self.backend!r}")
        if self.tile_size is not None and self.tile_size not in TILE_SIZES:
            raise ValueError(f"tile_size: expected one of {TILE_SIZES} or null, got {self.tile_size}")
        if not 0 < self.min_alpha < self.max_alpha < 1:
            raise ValueError(f"expected 0 < min_alpha < max_alpha < 1, got {self.min_alpha} and {self.max_alpha}")
        if not 0 < self.min_transmittance < 1:
            raise ValueError(f"min_transmittance: expected a value between 0 and 1, got {self.min_transmittance}")
        if self.eps2d < 0:
            raise ValueError(f"eps2d: expected 0 or more, got {self.eps2d}")
