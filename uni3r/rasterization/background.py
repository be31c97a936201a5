"""Compositing of renderings over a background."""

from __future__ import annotations

from torch import Tensor

from uni3r.models.description import Background
from uni3r.rasterization import Rendering


def over_background(rendering: Rendering, context: Tensor, background: Background) -> Tensor:
    """Composite a rendering (..., V, ..) over a background to images (..., V, 3, H, W).

    Args:
        rendering: rendering of a scene.
        context: (..., C, 3, h, w) in [0, 1], the images that the scene was made from.
        background: name of the rule.

    Raises:
        ValueError: for an unknown rule.
    """
    if background == "black":
        return rendering.image
    if background != "context_mean":
        raise ValueError(f"unknown background {background!r}; use black or context_mean")
    color = context.mean(dim=(-4, -2, -1))[..., None, :, None, None]
    return rendering.image + (1 - rendering.alpha[..., None, :, :]) * color
