"""What is seen where no Gaussian is."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from uni3r.rasterization import Rendering

Background = Literal["black", "context_mean"]
"""``black``: renderings as accumulated (published). ``context_mean``: the mean colour of the context pictures shines
through, so that what nobody has seen is a guess and not a hole."""


def over_background(rendering: Rendering, context: Tensor, background: Background) -> Tensor:
    """Images (..., V, 3, H, W) of a rendering (..., V, ..) over a background.

    Args:
        rendering: of a scene.
        context: (..., C, 3, h, w) in [0, 1], the pictures that the scene was made from.
        background: the rule.

    Raises:
        ValueError: for an unknown rule.
    """
    if background == "black":
        return rendering.image
    if background != "context_mean":
        raise ValueError(f"unknown background {background!r}; use black or context_mean")
    color = context.mean(dim=(-4, -2, -1))[..., None, :, None, None]
    return rendering.image + (1 - rendering.alpha[..., None, :, :]) * color
