"""Patch embedding, and the grid that records the position of every token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from common.backbone.rope import DEFAULT_BASE, Rotary, rotary_from_positions


@dataclass(frozen=True)
class PatchGrid:
    """Layout of the patch tokens of images of one size.

    Training mixes portrait and landscape images in one batch by storing portraits transposed (DUSt3R's convention).
    Such items have their tokens in the order of the upright portrait, so ``transposed`` marks them.
    """

    height: int
    """Rows of patches, as stored."""
    width: int
    """Columns of patches, as stored."""
    transposed: Tensor | None = None
    """(B,) bool: items that are stored transposed; None when there are none."""

    @property
    def num_tokens(self) -> int:
        """Tokens per image."""
        return self.height * self.width

    def positions(self, device: torch.device | str = "cpu") -> Tensor:
        """(N, 2), or (B, N, 2) for a mixed batch: int64 (row, column) of every token in its upright image."""
        plain = _grid_positions(self.height, self.width).to(device)
        if self.transposed is None:
            return plain
        turned = _grid_positions(self.width, self.height).to(device)
        return torch.where(self.transposed.to(device)[:, None, None], turned, plain)

    def rotary(self, head_dim: int, base: float = DEFAULT_BASE, device: torch.device | str = "cpu") -> Rotary:
        """Rotary table of this grid; cached per grid, head dimension and device."""
        # A graph that is compiled or exported holds a table of its own: its tensors have no values yet.
        if self.transposed is None and not torch.compiler.is_compiling():
            return _cached_rotary(self.height, self.width, head_dim, base, str(device))
        return rotary_from_positions(self.positions(device), head_dim, base)


def _grid_positions(height: int, width: int) -> Tensor:
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).view(-1, 2)


@lru_cache(maxsize=32)
def _cached_rotary(height: int, width: int, head_dim: int, base: float, device: str) -> Rotary:
    # Built outside inference mode, so that a table first made for inference can serve a training step later.
    with torch.inference_mode(False):
        return rotary_from_positions(_grid_positions(height, width).to(device), head_dim, base)


class PatchEmbed(nn.Module):
    """Cuts images into square patches and projects each to a token (a convolution with stride = kernel)."""

    def __init__(self, width: int, patch_size: int = 16, in_channels: int = 3) -> None:
        """
        Args:
            width: token channels.
            patch_size: side of a patch in pixels.
            in_channels: 3 for images and for pointmaps.
        """
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Conv2d(in_channels, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor, transposed: Tensor | None = None) -> tuple[Tensor, PatchGrid]:
        """
        Args:
            images: (B, C, H, W), both sides multiples of the patch size.
            transposed: (B,) bool, items stored transposed (see `PatchGrid`), or None.

        Returns:
            Tokens (B, N, width) in row-major order of the upright image, and their grid.

        Raises:
            ValueError: if the image size is not a multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"image size {height}x{width} is not a multiple of the patch size {self.patch_size}; "
                "use common.data.sources.preprocess to resize and crop"
            )
        # Rearranging and one matrix product is faster than the strided convolution of every CPU back end we measured.
        tokens = self._project(images)
        if transposed is not None and bool(transposed.any()):
            # Embed portraits upright, so that their tokens come in the order of the upright image.
            tokens = torch.where(transposed[:, None, None], self._project(images.transpose(-1, -2)), tokens)
        else:
            transposed = None
        return tokens, PatchGrid(height // self.patch_size, width // self.patch_size, transposed)

    def _project(self, images: Tensor) -> Tensor:
        p = self.patch_size
        batch, channels, height, width = images.shape
        patches = images.reshape(batch, channels, height // p, p, width // p, p)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * p * p)
        weight = self.projection.weight.flatten(1)
        return nn.functional.linear(patches.to(weight.dtype), weight, self.projection.bias)
