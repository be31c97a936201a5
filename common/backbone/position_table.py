"""Learned absolute position embeddings on a square grid, interpolated to the grid of the image."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.patch_embed import PatchGrid

Resize = Literal["bicubic", "bilinear"]


class PositionTable(nn.Module):
    """Position embeddings: an optional entry for the class token, then ``side * side`` entries in row-major order.

    The interpolation belongs to the weights: ``bicubic`` with antialiasing is DINOv2's (Oquab et al. 2024; also VGGT
    and Uni3R), ``bilinear`` without it is that of the ViT inside LSeg (Li et al. 2022, after timm's). The table is not
    interpolated where the grid has its size.
    """

    def __init__(self, width: int, side: int, class_entry: bool = True, resize: Resize = "bicubic") -> None:
        """
        Args:
            width: token channels.
            side: cells per side of the grid that the table was made for.
            class_entry: the first entry is that of the class token.
            resize: see the class.

        Raises:
            ValueError: for an unknown rule.
        """
        super().__init__()
        if resize not in ("bicubic", "bilinear"):
            raise ValueError(f"unknown resize rule {resize!r}; expected 'bicubic' or 'bilinear'")
        self.side = side
        self.num_class_entries = int(class_entry)
        self.resize = resize
        self.entries = nn.Parameter(0.02 * torch.randn(1, self.num_class_entries + side * side, width))

    def class_entry(self) -> Tensor:
        """(1, 1, C), or (1, 0, C) where the table has none."""
        return self.entries[:, : self.num_class_entries]

    def patch_entries(self, grid: PatchGrid) -> Tensor:
        """(1, N, C) for the tokens of a grid; (B, N, C) for a mixed batch, in each item's token order."""
        upright = self._resized(grid.height, grid.width)
        if grid.transposed is None:
            return upright
        turned = self._resized(grid.width, grid.height)
        return torch.where(grid.transposed.to(upright.device)[:, None, None], turned, upright)

    def _resized(self, rows: int, columns: int) -> Tensor:
        cells = self.entries[:, self.num_class_entries :]
        if rows == columns == self.side:
            return cells
        image = cells.float().transpose(1, 2).unflatten(2, (self.side, self.side))
        antialias = self.resize == "bicubic"
        image = F.interpolate(image, (rows, columns), mode=self.resize, align_corners=False, antialias=antialias)
        return image.flatten(2).transpose(1, 2)
