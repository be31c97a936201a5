"""Alternating attention: every view by itself, then all views together (VGGT, Wang et al. 2025; Uni3R).

A view's tokens are [camera, registers, patches, extra]. Camera and register tokens come in two learnt versions, one
for view 0 and one for all others: nothing else tells the reference view apart. The rotary position of a patch is its
(row + 1, column + 1); camera and registers are at (0, 0); an extra token lies one row below the grid, in its first
column. Views have no position embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from common.backbone.blocks import Block, run_block
from common.backbone.patch_embed import PatchGrid
from common.backbone.rope import DEFAULT_BASE, Rotary, rotary_from_positions


class AlternatingDecoder(nn.Module):
    """Pairs of a frame block (tokens of one view) and a global block (tokens of all views)."""

    def __init__(
        self,
        width: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        num_registers: int = 4,
        norm_eps: float = 1e-5,
        layer_scale: float = 0.01,
        rope_base: float = DEFAULT_BASE,
        checkpointing: bool = False,
    ) -> None:
        """
        Args:
            width: channels of the tokens.
            depth: pairs of blocks.
            num_heads: attention heads of every block.
            num_registers: register tokens per view.
            norm_eps: epsilon of all norms, also of queries and keys.
            layer_scale: initial scale of the residual branches.
            rope_base: frequency base of the rotary positions.
            checkpointing: see `common.backbone.encoder.Encoder`.
        """
        super().__init__()
        self.depth = depth
        self.head_dim = width // num_heads
        self.rope_base = rope_base
        self.checkpointing = checkpointing
        self.camera_tokens = nn.Parameter(1e-6 * torch.randn(1, 2, 1, width))
        """(1, version, 1, C); version 0 is for view 0."""
        self.register_tokens = nn.Parameter(1e-6 * torch.randn(1, 2, num_registers, width))

        def stack() -> nn.ModuleList:
            return nn.ModuleList(
                Block(width, num_heads, mlp_ratio, norm_eps, qk_norm=True, layer_scale=layer_scale)
                for _ in range(depth)
            )

        self.frame_blocks = stack()
        self.global_blocks = stack()

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches of a view: camera and registers."""
        return 1 + self.register_tokens.shape[2]

    def forward(
        self, patches: Tensor, grid: PatchGrid, extra: Tensor | None = None, levels: Sequence[int] | None = None
    ) -> list[Tensor]:
        """
        Args:
            patches: (B, V, N, C) encoder tokens.
            grid: their patch grid; with a mixed batch its ``transposed`` is per item.
            extra: (B, V, 1, C) one more token per view, e.g. of its intrinsics; None for none.
            levels: pairs whose outputs are returned, from 0; None for all.

        Returns:
            For each wanted pair, the outputs of its frame and its global block side by side: (B, V, T, 2 C). The T
            tokens of a view are camera, registers, patches and the extra token.
        """
        wanted = range(self.depth) if levels is None else levels
        views = patches.shape[1]
        x = torch.cat(
            [
                self._per_view(self.camera_tokens, patches),
                self._per_view(self.register_tokens, patches),
                patches.float(),
            ]
            + ([] if extra is None else [extra]),
            dim=2,
        )
        own, shared = self._rotary(grid, views, extra is not None, patches.device)
        outputs = {}
        for number in range(max(wanted) + 1):
            within = run_block(self.frame_blocks[number], x, own, checkpointing=self.checkpointing)
            together = within.flatten(1, 2)
            x = run_block(self.global_blocks[number], together, shared, checkpointing=self.checkpointing)
            x = x.unflatten(1, (views, -1))
            if number in wanted:
                outputs[number] = torch.cat([within, x], dim=-1)
        return [outputs[number] for number in wanted]

    @staticmethod
    def _per_view(versions: Tensor, like: Tensor) -> Tensor:
        """(1, 2, n, C) to (B, V, n, C): the first version for view 0, the second for the others."""
        batch, views = like.shape[:2]
        first, other = versions[:, :1], versions[:, 1:]
        return torch.cat([first, other.expand(-1, views - 1, -1, -1)], dim=1).expand(batch, -1, -1, -1)

    def _rotary(self, grid: PatchGrid, views: int, extra: bool, device: torch.device) -> tuple[Rotary, Rotary]:
        """Tables of the tokens of one view, and of all views one after the other."""
        positions = self._positions(grid.height, grid.width, extra)
        if grid.transposed is not None:
            turned = self._positions(grid.width, grid.height, extra)
            positions = torch.where(grid.transposed.cpu()[:, None, None], turned, positions)
        own = rotary_from_positions(positions.to(device), self.head_dim, self.rope_base)
        return own, own.repeat(views)

    def _positions(self, rows: int, columns: int, extra: bool) -> Tensor:
        """(T, 2) integer (row, column)."""
        prefix = torch.zeros(self.num_prefix_tokens, 2, dtype=torch.int64)
        last = torch.tensor([[rows + 1, 1]])
        return torch.cat([prefix, PatchGrid(rows, columns).positions() + 1, *([last] if extra else [])])
