"""Images to a token pyramid by CroCo's encoder and the multi-view decoder: DUSt3R's and SLAM3R's networks."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.encoder import Encoder
from common.backbone.intrinsics import IntrinsicsEmbedding
from common.backbone.multiview_decoder import MultiviewDecoder
from common.backbone.patch_embed import PatchGrid
from common.backbone.rope import Rotary, rotary_from_positions
from common.backbone.stem.adapter import StemAdapter
from common.backbone.token_pyramid import TokenPyramid


class MultiviewBackbone(nn.Module):
    """CroCo encoder and multi-view decoder with view 0 as reference; its cost is linear in the number of views.

    Intrinsics enter in one of two ways. ``add``: their embedding is added to all tokens of the view; it starts at zero,
    so that a network that begins with DUSt3R's or SLAM3R's weights computes exactly what those compute. ``token``: it
    is one more token of the view, one row below the grid. An extra token changes every softmax whatever its value,
    so it cannot start without an effect: a zero token moves the points of ``slam3r_tiny`` by 2 % of their
    distance (mean over 6 rooms of the validation set, 3 views each, 128 x 128).
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: MultiviewDecoder,
        intrinsics: IntrinsicsEmbedding | None = None,
        intrinsics_as: Literal["add", "token"] = "add",
        levels: tuple[int, ...] = (0, 6, 9, 12),
        sight: StemAdapter | None = None,
    ) -> None:
        """
        Args:
            encoder: CroCo variant: rotary positions, no final norm.
            decoder: reads the encoder's tokens.
            intrinsics: embedding of the encoder's width; None for a network without intrinsics.
            intrinsics_as: see the class.
            levels: entries of the decoder's list (0 = encoder tokens, k = block k) that feed the heads.
            sight: what the decoder sees beside the encoder's tokens, of the decoder's width; None for nothing.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.sight = sight
        self.intrinsics = intrinsics
        self.intrinsics_as = intrinsics_as
        self.levels = levels

    def forward(self, images: Tensor, intrinsics: Tensor | None = None) -> TokenPyramid:
        """
        Args:
            images: (B, V, 3, H, W) in [-1, 1], sides multiples of the patch size. A single view is its own source.
            intrinsics: (B, V, 3, 3) in pixels; None when they are not known.

        Returns:
            The pyramid: encoder tokens after their norm, then decoder tokens, the last level normalized.
        """
        batch, views = images.shape[:2]
        tokens, grid = self.encoder(images.flatten(0, 1))
        tokens = tokens.unflatten(0, (batch, views))
        seen = None if self.sight is None else self.sight(images.flatten(0, 1)).unflatten(0, (batch, views)).float()
        rotary = None
        if intrinsics is not None and self.intrinsics is not None:
            embedding = self.intrinsics(intrinsics, (images.shape[-2], images.shape[-1]))
            if self.intrinsics_as == "add":
                tokens = tokens + embedding
            else:
                tokens = torch.cat([tokens, embedding], dim=2)
                rotary = self._rotary_with_extra(grid, tokens.device)
                seen = None if seen is None else F.pad(seen, (0, 0, 0, 1))  # the stem sees nothing of that token
        others = slice(1 if views > 1 else 0, None)
        streams = self.decoder(
            tokens[:, :1],
            tokens[:, others],
            grid,
            reference_embedding=None if seen is None else seen[:, :1],
            source_embedding=None if seen is None else seen[:, others],
            want_sources=views > 1,
            rotary=rotary,
        )
        levels = []
        for level in self.levels:
            parts = [streams.references[level]] + ([streams.sources[level]] if views > 1 else [])
            levels.append(torch.cat(parts, dim=1)[:, :, : grid.num_tokens])
        return TokenPyramid(levels, grid)

    def _rotary_with_extra(self, grid: PatchGrid, device: torch.device) -> Rotary:
        positions = torch.cat([grid.positions(), torch.tensor([[grid.height, 0]])])
        return rotary_from_positions(positions.to(device), self.decoder.head_dim, self.decoder.rope_base)
