"""Self attention, and cross attention whose memory is many views at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.rope import Rotary

CACHED_TOKENS = 2048
"""Tokens that a CPU processes at once: enough for efficient matrix products, few enough to stay in its cache."""
UNLIMITED = 1 << 40


def cached_tokens(device: torch.device) -> int:
    """Number of tokens to process at once: all on a GPU, while gradients keep the intermediate results anyway, and in a
    graph that is compiled or exported, which would hold a loop over a fixed number of parts."""
    whole = device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling()
    return UNLIMITED if whole else CACHED_TOKENS


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


@dataclass(frozen=True)
class Memory:
    """Keys and values of memory views; made once, read by any number of targets."""

    keys: Tensor
    """(B, M, heads, N, C / heads), rotated."""
    values: Tensor
    """The same shape."""


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

    def remember(self, memory: Tensor, rotary: Rotary | None = None) -> Memory:
        """Keys and values of (B, M, N, C) normalized tokens of M memory views; ``rotary`` as in `forward`."""
        keys, values = self._heads(self.key(memory), rotary), self._heads(self.value(memory))
        return Memory(*(x.unflatten(0, memory.shape[:2]) for x in (keys, values)))

    def forward(
        self, target: Tensor, memory: Memory, rotary: Rotary | None = None, memory_chunk: int | None = None
    ) -> Tensor:
        """
        A batch of one on either side broadcasts to the batch of the other, and is projected only once.

        Args:
            target: (B, T, N, C) normalized tokens of T target views.
            memory: `remember` of M memory views.
            rotary: positions of the N tokens of a view; one table for all where the two batches differ.
            memory_chunk: memory views attended at once; bounds the peak memory to B * chunk * T * N * C values.
                None chooses: all at once on a GPU, as many as stay in the cache on a CPU.

        Returns:
            (B, T, N, C), the maximum over the memory views.
        """
        # Sizes are read from shapes: len() would make them constants of an exported graph.
        items_remembered, num_memory = memory.keys.shape[:2]
        assert num_memory, "cross attention needs at least one memory view"
        shape = (max(target.shape[0], items_remembered), *target.shape[1:])
        if items_remembered == 1:
            target = target.flatten(0, 1)[None]  # the targets of all items read the same views
        batch = max(target.shape[0], items_remembered)
        query = self._heads(self.query(target), rotary)
        # Views are concatenated along the token axis; a view in memory, since tokens come before heads.
        query = query.transpose(1, 2).unflatten(0, target.shape[:2]).flatten(1, 2).transpose(1, 2)
        keys, values = memory.keys, memory.values

        limit = cached_tokens(query.device)
        if limit == UNLIMITED:
            query, keys, values = (x.expand(batch, *x.shape[1:]) for x in (query, keys, values))
            return self._attend(query, keys, values, memory_chunk).view(shape)
        items = max(1, limit // (query.shape[2] * num_memory))
        chunk = memory_chunk or max(1, limit // (items * query.shape[2]))
        query, keys, values = (x.expand(batch, *x.shape[1:]).split(items) for x in (query, keys, values))
        pooled = [self._attend(*parts, chunk) for parts in zip(query, keys, values, strict=True)]
        return torch.cat(pooled).view(shape) if len(pooled) > 1 else pooled[0].view(shape)

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, chunk: int | None) -> Tensor:
        """(B, heads, T, D) to (B, M, heads, N, D), ``chunk`` memory views at once (None: all): the pooled (B, T, C)."""
        parts = [(keys, values)]
        if chunk is not None:
            parts = list(zip(keys.split(chunk, dim=1), values.split(chunk, dim=1), strict=True))
        pooled = reduce(torch.maximum, (self._attend_at_once(query, key, value) for key, value in parts))
        # The bias is the same for all pairs: added once, after the maximum.
        return pooled + self.projection.bias

    def _attend_at_once(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        pairs = query[:, None].expand(-1, key.shape[1], -1, -1, -1)
        mixed = F.scaled_dot_product_attention(pairs.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1))
        projected = F.linear(mixed.transpose(1, 2).flatten(2), self.projection.weight)
        projected = projected.unflatten(0, key.shape[:2])
        return projected.amax(dim=1) if projected.shape[1] > 1 else projected[:, 0]

    def _heads(self, x: Tensor, rotary: Rotary | None = None) -> Tensor:
        """(B, V, N, C) to rotated (B * V, heads, N, C / heads)."""
        heads = _split_heads(x.flatten(0, 1), self.num_heads)
        return heads if rotary is None else rotary.repeat_items(x.shape[1]).rotate(heads)
