"""The linear head of DUSt3R and SLAM3R: one matrix from a token to all pixels of its patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.backbone.patch_embed import PatchGrid


def stored_layout(upright: Tensor, turned: Tensor, transposed: Tensor) -> Tensor:
    """Join a mixed batch: landscape items from ``upright``, portrait items (stored transposed) from ``turned``.

    Args:
        upright: (B, .., h, w, C) maps made on the stored grid.
        turned: (B, .., w, h, C) maps made on the transposed grid.
        transposed: (B,) bool.

    Returns:
        (B, .., h, w, C), every item in the layout it is stored in.
    """
    turned = turned.transpose(-2, -3)
    mask = transposed.view(-1, *[1] * (upright.ndim - 1))
    return torch.where(mask, turned, upright)


class LinearHead(nn.Module):
    """(.., N, C) tokens to (.., H, W, channels) raw values; always in float32."""

    def __init__(self, width: int, patch_size: int = 16, channels: int = 4) -> None:
        """
        Args:
            width: channels of the decoder's last stream.
            patch_size: side of a patch in pixels.
            channels: values per pixel (3 coordinates and a confidence logit).
        """
        super().__init__()
        self.patch_size = patch_size
        self.channels = channels
        self.projection = nn.Linear(width, channels * patch_size**2)

    def forward(self, streams: list[Tensor], grid: PatchGrid) -> Tensor:
        """
        Args:
            streams: the decoder's list; only the last, (B, V, N, C), is read.
            grid: patch grid of the N tokens.

        Returns:
            Raw (B, V, H, W, channels) in the stored layout.
        """
        tokens = streams[-1].float()
        with torch.autocast(tokens.device.type, enabled=False):
            raw = self.projection(tokens)
        upright = self._pixels(tokens, raw, grid.height, grid.width)
        if grid.transposed is None:
            return upright
        return stored_layout(upright, self._pixels(tokens, raw, grid.width, grid.height), grid.transposed)

    def _pixels(self, tokens: Tensor, raw: Tensor, rows: int, columns: int) -> Tensor:
        """Output channel c * p * p + i * p + j is value c of pixel (i, j) of the patch."""
        p = self.patch_size
        lead = raw.shape[:-2]
        pixels = raw.reshape(-1, rows, columns, self.channels, p, p).permute(0, 1, 4, 2, 5, 3)
        return pixels.reshape(*lead, rows * p, columns * p, self.channels)
