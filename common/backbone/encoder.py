"""The image encoder: one vision transformer whose options make it CroCo's, DINOv2's, or the plain ViT inside LSeg.

======================  ==================  ===========================  ======================
option                  CroCo v2, DUSt3R    DINOv2 in VGGT and Uni3R     ViT-L/16 of LSeg
======================  ==================  ===========================  ======================
``rope_base``           100                 None                         None
``class_token``         no                  yes                          yes
``num_registers``       0                   4                            0
``table_side``          0 (none)            37 (VGGT), 16 (Uni3R)        24
``table_resize``                            bicubic, antialiased         bilinear
``layer_scale``         no                  1.0                          no
``final_norm``          no (see below)      yes                          no
======================  ==================  ===========================  ======================
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from common.backbone.blocks import Block, run_block
from common.backbone.patch_embed import PatchEmbed, PatchGrid
from common.backbone.position_table import PositionTable, Resize
from common.backbone.rope import DEFAULT_BASE


class Encoder(nn.Module):
    """Vision transformer from images to patch tokens; images do not attend to each other.

    Without ``final_norm`` the tokens come unnormalized: SLAM3R stores them so, and every model that reads them applies
    its own norm (see `common.backbone.multiview_decoder.MultiviewDecoder.token_norm`).
    """

    def __init__(
        self,
        width: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        patch_size: int = 16,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
        rope_base: float | None = DEFAULT_BASE,
        *,
        class_token: bool = False,
        num_registers: int = 0,
        table_side: int = 0,
        table_resize: Resize = "bicubic",
        layer_scale: float | None = None,
        final_norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        """
        Args:
            width, depth, num_heads, patch_size, mlp_ratio, norm_eps: sizes of the transformer.
            rope_base: frequency base of the rotary positions; None for none.
            class_token: put a learnt token before the patches.
            num_registers: learnt tokens without a position, after the class token (Darcet et al. 2024).
            table_side: cells per side of a learnt position table; 0 for none.
            table_resize: interpolation of the table for other grids (see `PositionTable`).
            layer_scale: initial learnt scale per channel of both branches of a block; None for none.
            final_norm: normalize the tokens that come out of the last block.
            checkpointing: in training, recompute each block in the backward pass instead of storing its activations.

        Raises:
            ValueError: for rotary positions together with class or register tokens, which have no place in the grid.
        """
        super().__init__()
        if rope_base is not None and (class_token or num_registers):
            raise ValueError(
                "rotary positions are for patches only: leave out class token and registers, or the rotary"
            )
        self.head_dim = width // num_heads
        self.rope_base = rope_base
        self.checkpointing = checkpointing
        self.num_prefix_tokens = int(class_token) + num_registers
        """Tokens before the patches: class token, then registers."""
        self.patch_embed = PatchEmbed(width, patch_size)
        self.class_token = nn.Parameter(1e-6 * torch.randn(1, 1, width)) if class_token else None
        self.registers = nn.Parameter(1e-6 * torch.randn(1, num_registers, width)) if num_registers else None
        self.position_table = PositionTable(width, table_side, class_token, table_resize) if table_side else None
        self.blocks = nn.ModuleList(
            Block(width, num_heads, mlp_ratio, norm_eps, layer_scale=layer_scale) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=norm_eps) if final_norm else nn.Identity()

    def forward(
        self, images: Tensor, transposed: Tensor | None = None, chunk: int | None = None
    ) -> tuple[Tensor, PatchGrid]:
        """
        Args:
            images: (B, 3, H, W), scaled as the weights expect ([-1, 1] for CroCo), sides multiples of the patch size.
            transposed: (B,) bool, portrait items stored transposed (see `PatchGrid`), or None.
            chunk: images per pass, to bound memory; None takes all at once.

        Returns:
            Patch tokens (B, N, C), normalized only with ``final_norm``, and their grid.
        """
        tokens, grid = self.patch_embed(images, transposed)
        if chunk is None or len(tokens) <= chunk:
            return self._patches(tokens, grid), grid
        parts = []
        for start in range(0, len(tokens), chunk):
            turned = None if grid.transposed is None else grid.transposed[start : start + chunk]
            parts.append(self._patches(tokens[start : start + chunk], PatchGrid(grid.height, grid.width, turned)))
        return torch.cat(parts), grid

    def forward_levels(self, images: Tensor, blocks: Sequence[int]) -> tuple[list[Tensor], PatchGrid]:
        """Residual streams after chosen blocks, for heads that read several depths.

        Args:
            images: (B, 3, H, W), as for `forward`.
            blocks: indices of blocks, from 0; blocks after the last of them do not run.

        Returns:
            For each index, in the given order, (B, P + N, C): class and register tokens, then patches, not normalized;
            and the grid of the patches.

        Raises:
            ValueError: for an index without a block.
        """
        if not blocks or not all(0 <= number < len(self.blocks) for number in blocks):
            raise ValueError(f"expected numbers of blocks from 0 to {len(self.blocks) - 1}, got {list(blocks)}")
        tokens, grid = self.patch_embed(images)
        streams = self._run(tokens, grid, set(blocks))
        return [streams[number] for number in blocks], grid

    def _patches(self, tokens: Tensor, grid: PatchGrid) -> Tensor:
        last = len(self.blocks) - 1
        return self.norm(self._run(tokens, grid, {last})[last][:, self.num_prefix_tokens :])

    def _run(self, tokens: Tensor, grid: PatchGrid, wanted: Collection[int]) -> dict[int, Tensor]:
        """The streams after the wanted blocks."""
        rotary = None if self.rope_base is None else grid.rotary(self.head_dim, self.rope_base, tokens.device)
        x = self._with_prefix(tokens.float(), grid)
        streams = {}
        for number, block in enumerate(self.blocks[: max(wanted) + 1]):
            x = run_block(block, x, rotary, checkpointing=self.checkpointing)
            if number in wanted:
                streams[number] = x
        return streams

    def _with_prefix(self, patches: Tensor, grid: PatchGrid) -> Tensor:
        """Add positions, and put class token and registers (which have none) in front."""
        table = self.position_table
        if table is not None:
            patches = patches + table.patch_entries(grid)
        prefix = []
        if self.class_token is not None:
            prefix.append(self.class_token if table is None else self.class_token + table.class_entry())
        if self.registers is not None:
            prefix.append(self.registers)
        if not prefix:
            return patches
        return torch.cat([*(token.expand(len(patches), -1, -1) for token in prefix), patches], dim=1)
