"""The linear head with a convolutional residual that knows the neighbouring patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.heads.linear import LinearHead

CELL = 4
"""Pixels per side of the cells on which the residual is computed."""


class SmoothedLinearHead(LinearHead):
    """A `LinearHead` whose values a small convolutional network corrects, so that patches meet without steps.

    The correction starts at zero: with the weights of a linear head it is that head until it learns.
    """

    def __init__(
        self, width: int, patch_size: int = 16, channels: int = 4, token_channels: int = 32, hidden: int = 32
    ) -> None:
        """
        Args:
            width, patch_size, channels: see `LinearHead`; the patch size is a multiple of `CELL`.
            token_channels: channels of the tokens that the correction sees.
            hidden: channels of its only hidden layer.
        """
        super().__init__(width, patch_size, channels)
        if patch_size % CELL:
            raise ValueError(f"this head needs a patch size that is a multiple of {CELL}, got {patch_size}")
        self.condense = nn.Linear(width, token_channels)
        self.look = nn.Conv2d(channels * CELL**2 + token_channels, hidden, 3, padding=1)
        self.correct = nn.Conv2d(hidden, channels * CELL**2, 3, padding=1)
        self.start_at_zero()

    def start_at_zero(self) -> None:
        """Make the correction zero."""
        for parameter in self.correct.parameters():
            nn.init.zeros_(parameter)

    def _pixels(self, tokens: Tensor, raw: Tensor, rows: int, columns: int) -> Tensor:
        coarse = super()._pixels(tokens, raw, rows, columns)
        lead = coarse.shape[:-3]
        image = coarse.reshape(-1, *coarse.shape[-3:]).permute(0, 3, 1, 2)
        with torch.autocast(tokens.device.type, enabled=False):
            condensed = self.condense(tokens).reshape(-1, rows, columns, self.condense.out_features).permute(0, 3, 1, 2)
            cells = F.pixel_unshuffle(image, CELL)
            context = F.interpolate(condensed, cells.shape[-2:], mode="bilinear", align_corners=False)
            seen = F.gelu(self.look(torch.cat([cells, context], dim=1)))
            image = image + F.pixel_shuffle(self.correct(seen), CELL)
        return image.permute(0, 2, 3, 1).reshape(*lead, *coarse.shape[-3:])
