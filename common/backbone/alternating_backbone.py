"""Images to a token pyramid by DINOv2's encoder and alternating attention: VGGT, and the published Uni3R."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.backbone.alternating_decoder import AlternatingDecoder
from common.backbone.encoder import Encoder
from common.backbone.intrinsics import IntrinsicsEmbedding
from common.backbone.token_pyramid import TokenPyramid

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def alternating_levels(depth: int) -> tuple[int, int, int, int]:
    """Pairs of blocks, from 0, that feed the heads: 4, 11, 17, 23 of 24 as in VGGT; all of 4.

    Raises:
        ValueError: for fewer than 4 pairs.
    """
    if depth < 4:
        raise ValueError(f"four levels need at least 4 pairs of blocks, got {depth}")
    return depth // 6, depth // 2 - 1, depth * 3 // 4 - 1, depth - 1


class AlternatingBackbone(nn.Module):
    """Encoder, optional intrinsics token, decoder. Its cost grows with the square of the number of views."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: AlternatingDecoder,
        intrinsics: IntrinsicsEmbedding | None = None,
        levels: Sequence[int] | None = None,
    ) -> None:
        """
        Args:
            encoder: see `common.backbone.encoder` for the options of the DINOv2 kind.
            decoder: has the encoder's width.
            intrinsics: makes the token of a view's intrinsics; None for VGGT, which has none.
            levels: pairs of blocks that feed the heads; None takes `alternating_levels`.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.intrinsics = intrinsics
        self.levels = tuple(levels) if levels is not None else alternating_levels(decoder.depth)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, intrinsics: Tensor | None = None) -> TokenPyramid:
        """
        Args:
            images: (B, V, 3, H, W) in [-1, 1], sides multiples of the patch size.
            intrinsics: (B, V, 3, 3) in pixels; None leaves their token out.

        Returns:
            The pyramid, 2 C channels at every level, with camera tokens.
        """
        batch, views = images.shape[:2]
        scaled = ((images.float() + 1) / 2 - self.mean) / self.deviation
        tokens, grid = self.encoder(scaled.flatten(0, 1))
        extra = None
        if intrinsics is not None and self.intrinsics is not None:
            extra = self.intrinsics(intrinsics, (images.shape[-2], images.shape[-1]))
        outputs = self.decoder(tokens.unflatten(0, (batch, views)), grid, extra, self.levels)
        first = self.decoder.num_prefix_tokens
        levels = [tokens[:, :, first : first + grid.num_tokens] for tokens in outputs]
        return TokenPyramid(levels, grid, camera_tokens=outputs[-1][:, :, 0])
