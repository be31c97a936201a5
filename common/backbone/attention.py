"""Self attention, and cross attention whose memory is many views at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.rope import Rotary


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, N, C) to (B, heads, N, C / heads), a view."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Multi-head self attention with rotary positions and optional query/key normalization."""

    def __init__(self, width: int, num_heads: int, qk_norm: bool = False, norm_eps: float = 1e-6) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        head_dim = width // num_heads
        self.query_norm = nn.LayerNorm(head_dim, eps=norm_eps) if qk_norm else nn.Identity()
        self.key_norm = nn.LayerNorm(head_dim, eps=norm_eps) if qk_norm else nn.Identity()

    def forward(self, x: Tensor, rotary: Rotary | None = None) -> Tensor:
        """x: (B, N, C) -> (B, N, C)."""
        query, key, value = (_split_heads(part, self.num_heads) for part in self.qkv(x).chunk(3, dim=-1))
        query, key = self.query_norm(query), self.key_norm(key)
        if rotary is not None:
            query, key = rotary.rotate(query), rotary.rotate(key)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.projection(mixed.transpose(1, 2).flatten(2))


class MaxPooledCrossAttention(nn.Module):
    """Cross attention of target views to memory views, pooled by the elementwise maximum over the memory views.

    Each (target, memory) pair attends on its own and goes through the output projection, bias included; then the
    maximum over the memory views is taken per token and channel (SLAM3R, Liu, Dong et al. 2025, section 3.2). With
    one memory view this is ordinary cross attention. Queries, keys and values are projected once per view, not per
    pair; the queries of all targets stand on one token axis, so that no tensor is ever copied per pair.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.projection = nn.Linear(width, width)

    def forward(
        self, target: Tensor, memory: Tensor, rotary: Rotary | None = None, memory_chunk: int | None = None
    ) -> Tensor:
        """
        Args:
            target: (B, T, N, C) normalized tokens of T target views.
            memory: (B, M, N, C) normalized tokens of M memory views.
            rotary: positions of the N tokens of a view.
            memory_chunk: memory views attended at once; bounds the peak memory to B * chunk * T * N * C values.
                None attends to all at once.

        Returns:
            (B, T, N, C), the maximum over the memory views.
        """
        batch, num_targets, num_tokens, width = target.shape
        num_memory = memory.shape[1]
        query = _split_heads(self.query(target).flatten(1, 2), self.num_heads)
        if rotary is not None:
            query = rotary.repeat(num_targets).rotate(query)
        keys = _split_heads(self.key(memory).flatten(0, 1), self.num_heads)
        values = _split_heads(self.value(memory).flatten(0, 1), self.num_heads)
        if rotary is not None:
            keys = rotary.repeat_items(num_memory).rotate(keys)
        keys, values = (x.unflatten(0, (batch, num_memory)) for x in (keys, values))

        chunk = num_memory if memory_chunk is None else memory_chunk
        pooled: Tensor | None = None
        for start in range(0, num_memory, chunk):
            key, value = keys[:, start : start + chunk], values[:, start : start + chunk]
            pairs = query[:, None].expand(-1, key.shape[1], -1, -1, -1)
            mixed = F.scaled_dot_product_attention(pairs.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1))
            projected = self.projection(mixed.transpose(1, 2).flatten(2)).unflatten(0, (batch, -1))
            best = projected.amax(dim=1) if projected.shape[1] > 1 else projected[:, 0]
            pooled = best if pooled is None else torch.maximum(pooled, best)
        assert pooled is not None, "cross attention needs at least one memory view"
        return pooled.view(batch, num_targets, num_tokens, width)
