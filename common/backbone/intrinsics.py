"""Embedding of camera intrinsics as one vector per view."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Normalization = Literal["height", "per_axis"]


def normalized_intrinsics(
    intrinsics: Tensor, size: tuple[int, int], normalization: Normalization = "per_axis"
) -> Tensor:
    """Intrinsics in units of the image instead of pixels.

    Args:
        intrinsics: (..., 3, 3), pixels.
        size: (height, width) of the image.
        normalization: ``per_axis`` divides the first row by the width and the second by the height; ``height`` divides
            both by the height, as the published Uni3R does (the same for square images).

    Returns:
        (..., 3, 3).

    Raises:
        ValueError: for an unknown rule.
    """
    if normalization not in ("height", "per_axis"):
        raise ValueError(f"unknown intrinsics normalization {normalization!r}; expected 'height' or 'per_axis'")
    height, width = size
    columns = height if normalization == "height" else width
    return intrinsics / intrinsics.new_tensor([columns, height, 1.0])[:, None]


class IntrinsicsEmbedding(nn.Module):
    """Linear embedding of normalized intrinsics, flattened row by row: one token per view."""

    def __init__(self, width: int, normalization: Normalization = "per_axis", start_at_zero: bool = False) -> None:
        """
        Args:
            width: channels of the embedding.
            normalization: see `normalized_intrinsics`.
            start_at_zero: zero weights, so that adding the embedding changes nothing before training; else He-normal
                weights, as the published Uni3R begins. The bias is zero either way.
        """
        super().__init__()
        self.normalization: Normalization = normalization
        self.start_at_zero = start_at_zero
        self.projection = nn.Linear(9, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The initialization (see ``start_at_zero``)."""
        if self.start_at_zero:
            nn.init.zeros_(self.projection.weight)
        else:
            nn.init.kaiming_normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, V, 3, 3) in pixels of images of ``size`` (height, width) to (B, V, 1, C)."""
        with torch.autocast(intrinsics.device.type, enabled=False):
            known = normalized_intrinsics(intrinsics.float(), size, self.normalization)
            return self.projection(known.flatten(-2))[:, :, None]
