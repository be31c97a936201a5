"""The image encoder: a plain vision transformer with rotary positions (CroCo v2 and DUSt3R)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.backbone.blocks import Block
from common.backbone.patch_embed import PatchEmbed, PatchGrid
from common.backbone.rope import DEFAULT_BASE


class Encoder(nn.Module):
    """Images to tokens, one image at a time.

    The final norm is not part of it: SLAM3R stores tokens before the norm and every model that reads them applies
    its own (see `common.backbone.multiview_decoder.MultiviewDecoder.token_norm`).
    """

    def __init__(
        self,
        width: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        patch_size: int = 16,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
        rope_base: float = DEFAULT_BASE,
    ) -> None:
        super().__init__()
        self.head_dim = width // num_heads
        self.rope_base = rope_base
        self.patch_embed = PatchEmbed(width, patch_size)
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_ratio, norm_eps) for _ in range(depth))

    def forward(
        self, images: Tensor, transposed: Tensor | None = None, chunk: int | None = None
    ) -> tuple[Tensor, PatchGrid]:
        """
        Args:
            images: (B, 3, H, W) in [-1, 1], sides multiples of the patch size.
            transposed: (B,) bool, portrait items stored transposed (see `PatchGrid`), or None.
            chunk: images per pass, to bound memory; None takes all at once.

        Returns:
            Tokens (B, N, C) of the residual stream, not normalized, and their grid.
        """
        tokens, grid = self.patch_embed(images, transposed)
        if chunk is None or len(tokens) <= chunk:
            return self._run(tokens, grid), grid
        parts = []
        for start in range(0, len(tokens), chunk):
            turned = None if grid.transposed is None else grid.transposed[start : start + chunk]
            parts.append(self._run(tokens[start : start + chunk], PatchGrid(grid.height, grid.width, turned)))
        return torch.cat(parts), grid

    def _run(self, tokens: Tensor, grid: PatchGrid) -> Tensor:
        rotary = grid.rotary(self.head_dim, self.rope_base, tokens.device)
        x = tokens.float()
        for block in self.blocks:
            x = block(x, rotary)
        return x
