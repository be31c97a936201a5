"""Features of a convolutional network that knows photographs, one vector per patch, for a decoder that adds them.

The vectors start at zero, as in ControlNet (Zhang et al., ICCV 2023): a trained network that gets an adapter is the
same network until the adapter learns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.stem.network import STEM_CHANNELS, STEM_STRIDES, ConvolutionalStem


class StemAdapter(nn.Module):
    """Images to one residual per patch token."""

    def __init__(self, width: int, patch_size: int, hidden: int = 384) -> None:
        """
        Args:
            width: channels of the residuals.
            patch_size: pixels per token and side, a multiple of the finest stride of the stem.
            hidden: channels between the features and the residuals.

        Raises:
            ValueError: for a patch size that the features do not divide.
        """
        super().__init__()
        if patch_size % STEM_STRIDES[0]:
            raise ValueError(f"the stem needs a patch size that is a multiple of {STEM_STRIDES[0]}, got {patch_size}")
        self.patch_size = patch_size
        self.stem = ConvolutionalStem()
        folds = [max(1, patch_size // stride) for stride in STEM_STRIDES]
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in STEM_CHANNELS)
        inputs = sum(channels * fold**2 for channels, fold in zip(STEM_CHANNELS, folds, strict=True))
        self.hidden = nn.Linear(inputs, hidden)
        self.residuals = nn.Linear(hidden, width)
        self.start_at_zero()

    def start_at_zero(self) -> None:
        """Make all residuals zero."""
        nn.init.zeros_(self.residuals.weight)
        nn.init.zeros_(self.residuals.bias)

    def forward(self, images: Tensor, transposed: Tensor | None = None) -> Tensor:
        """
        Args:
            images: (B, 3, H, W) in [-1, 1], sides multiples of the patch size.
            transposed: (B,) bool, items stored transposed (see `PatchGrid`), or None.

        Returns:
            (B, N, width) in row-major order of the upright image.
        """
        residuals = self._residuals(images)
        if transposed is not None and bool(transposed.any()):
            residuals = torch.where(transposed[:, None, None], self._residuals(images.transpose(-1, -2)), residuals)
        return residuals

    def _residuals(self, images: Tensor) -> Tensor:
        rows, columns = (size // self.patch_size for size in images.shape[-2:])
        # Depthwise convolutions on the processor are about twice as fast in this layout.
        features = self.stem(images.contiguous(memory_format=torch.channels_last))
        tokens = []
        for feature, norm in zip(features, self.norms, strict=True):
            normed = norm(feature.permute(0, 2, 3, 1))
            tokens.append(_per_token(normed, rows, columns))
        return self.residuals(F.gelu(self.hidden(torch.cat(tokens, dim=-1))))


def _per_token(feature: Tensor, rows: int, columns: int) -> Tensor:
    """(B, h, w, C) features to (B, rows * columns, ..): cells of a token side by side, coarse cells interpolated."""
    batch, height, width, channels = feature.shape
    if height < rows or width < columns:
        image = feature.permute(0, 3, 1, 2)
        image = F.interpolate(image, (rows, columns), mode="bilinear", align_corners=False)
        return image.permute(0, 2, 3, 1).flatten(1, 2)
    fold_y, fold_x = height // rows, width // columns
    cells = feature.reshape(batch, rows, fold_y, columns, fold_x, channels).permute(0, 1, 3, 2, 4, 5)
    return cells.reshape(batch, rows * columns, fold_y * fold_x * channels)
