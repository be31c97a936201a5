"""LSeg (Li et al. 2022): an image network with per-pixel features in CLIP's text space.

A ViT-L/16 (Dosovitskiy et al. 2021) read at four depths and fused by a DPT body (Ranftl et al. 2021), both from
`common`; the class token is mixed into every patch token before the fusion. This is the published ``clip_vitl16_384``
with 256 features and batch norms; Uni3R takes its output as semantic target.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.backbone.encoder import Encoder
from common.heads.dpt import DPTBody

STRIDE = 32
"""Image sides are multiples of this: the coarsest level is half the patch grid."""


@dataclass(frozen=True)
class LSegSizes:
    """Sizes of the network; the defaults are the published ones."""

    width: int = 1024
    depth: int = 24
    num_heads: int = 16
    table_side: int = 24
    """Position table of the ViT, cells per side (384 / 16)."""
    levels: tuple[int, ...] = (5, 11, 17, 23)
    """Blocks whose streams are read, fine to coarse."""
    level_channels: tuple[int, ...] = (256, 512, 1024, 1024)
    fusion_width: int = 256
    channels: int = 512
    """Output channels: the width of CLIP's text space."""


class LSeg(nn.Module):
    """Images to per-pixel features in CLIP's text space, at half the resolution.

    Frozen by design: it stays in evaluation mode whatever the mode of its parents, because batch statistics of a
    training batch would change its output and its running averages.
    """

    def __init__(self, sizes: LSegSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or LSegSizes()
        self.encoder = Encoder(
            sizes.width,
            sizes.depth,
            sizes.num_heads,
            rope_base=None,
            class_token=True,
            table_side=sizes.table_side,
            table_resize="bilinear",
        )
        self.readouts = nn.ModuleList(nn.Linear(2 * sizes.width, sizes.width) for _ in sizes.levels)
        self.body = DPTBody(
            [sizes.width] * len(sizes.levels), sizes.level_channels, sizes.fusion_width, batch_norm=True
        )
        self.head = nn.Conv2d(sizes.fusion_width, sizes.channels, 1)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> LSeg:
        """Keep evaluation mode, whatever the parent's mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """
        Args:
            images: (B, V, 3, H, W) in [-1, 1], sides multiples of 32.

        Returns:
            (B, V, C, H/2, W/2) features, not normalized; C is 512 at the published size.

        Raises:
            ValueError: for a side that is not a multiple of 32.
        """
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"LSeg takes image sides that are multiples of {STRIDE}, got {height} x {width}")
        features = self.head(self.fused(images.flatten(0, 1)))
        return features.unflatten(0, images.shape[:2])

    def fused(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to the DPT path before the last projection, (B, fusion_width, H/2, W/2)."""
        streams, grid = self.encoder.forward_levels(images, self.sizes.levels)
        tokens = [self._with_class(stream, readout) for stream, readout in zip(streams, self.readouts, strict=True)]
        return self.body(tokens, grid.height, grid.width)

    @staticmethod
    def _with_class(stream: Tensor, readout: nn.Module) -> Tensor:
        """(B, 1 + N, C) to (B, N, C): mixes the class token into every patch ("project" readout of DPT, section 3)."""
        patches = stream[:, 1:]
        pairs = torch.cat([patches, stream[:, :1].expand_as(patches)], dim=-1)
        return nn.functional.gelu(readout(pairs))
