"""One transformer block for every use: encoder, multi-view decoder and, by its options, the VGGT and DINO families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from common.backbone.attention import UNLIMITED, MaxPooledCrossAttention, Memory, SelfAttention, cached_tokens
from common.backbone.rope import Rotary


class Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.activation = nn.GELU()
        self.fc2 = nn.Linear(hidden, width if out is None else out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., out)."""
        return self.fc2(self.activation(self.fc1(x)))


class LayerScale(nn.Module):
    """A learnt factor per channel (Touvron et al. 2021)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Scale (..., width)."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm residual block: self attention, optional max-pooled cross attention, MLP.

    The residual stream keeps its own type (float32 in practice) while the matrix products run in the type of the
    weights, so a model whose linear layers are bfloat16 does not round the stream itself.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
        cross_attention: bool = False,
        qk_norm: bool = False,
        layer_scale: float | None = None,
    ) -> None:
        """
        Args:
            width: channels of the stream.
            num_heads: attention heads.
            mlp_ratio: hidden width of the MLP over ``width``.
            norm_eps: epsilon of all layer norms, also of queries and keys.
            cross_attention: add cross attention to memory views between self attention and MLP.
            qk_norm: normalize queries and keys per head (VGGT).
            layer_scale: initial value of a learnt scale per channel on both residual branches (DINOv2, VGGT).
        """
        super().__init__()

        def scale() -> nn.Module:
            return nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

        self.self_norm = nn.LayerNorm(width, eps=norm_eps)
        self.self_attention = SelfAttention(width, num_heads, qk_norm, norm_eps)
        self.scale1 = scale()
        self.cross_attention: MaxPooledCrossAttention | None = None
        if cross_attention:
            self.cross_norm = nn.LayerNorm(width, eps=norm_eps)
            self.memory_norm = nn.LayerNorm(width, eps=norm_eps)
            self.cross_attention = MaxPooledCrossAttention(width, num_heads)
        self.mlp_norm = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.scale2 = scale()

    def forward(
        self,
        x: Tensor,
        rotary: Rotary | None = None,
        memory: Tensor | Memory | None = None,
        memory_chunk: int | None = None,
        attended: bool = False,
    ) -> Tensor:
        """
        Args:
            x: (B, N, C) tokens, or (B, T, N, C) for T target views with a memory.
            rotary: positions of the N tokens.
            memory: (B, M, N, C) streams of the memory views, or what `remember` made of them; required exactly if the
                block has cross attention. A batch of one here or in ``x`` serves all items of the other.
            memory_chunk: see `MaxPooledCrossAttention`.
            attended: ``x`` comes from `attend_self`.

        Returns:
            The updated stream, shaped as ``x`` (with the memory's batch, if that is the larger).
        """
        if not attended:
            x = self.attend_self(x, rotary)
        if self.cross_attention is not None:
            assert memory is not None, "a block with cross attention needs a memory"
            read = self.remember(memory, rotary) if isinstance(memory, Tensor) else memory
            x = x + self.cross_attention(self.cross_norm(x).to(self._dtype), read, rotary, memory_chunk)
        tokens = x.reshape(-1, *x.shape[-2:])
        updated = _add_branch(tokens, lambda part: self.scale2(self.mlp(self.mlp_norm(part).to(self._dtype))))
        return updated.reshape(x.shape)

    def attend_self(self, x: Tensor, rotary: Rotary | None = None) -> Tensor:
        """Self attention of ``x`` as in `forward`: the part that depends on each target view alone."""
        views = x if x.ndim == 3 else x.flatten(0, 1)
        table = None if rotary is None else rotary.repeat_items(views.shape[0] // x.shape[0])
        return _add_branch(
            views,
            lambda part: self.scale1(self.self_attention(self.self_norm(part).to(self._dtype), table)),
            divisible=table is None or table.cos.ndim == 2,
        ).reshape(x.shape)

    def remember(self, memory: Tensor, rotary: Rotary | None = None) -> Memory:
        """Keys and values of memory views (B, M, N, C): the part that depends on each memory view alone."""
        assert self.cross_attention is not None, "a block without cross attention reads no memory"
        return self.cross_attention.remember(self.memory_norm(memory).to(self._dtype), rotary)

    @property
    def _dtype(self) -> torch.dtype:
        """Type of the matrix products."""
        return self.mlp.fc1.weight.dtype


def run_block(block: nn.Module, x: Tensor, *arguments: Any, checkpointing: bool = False) -> Tensor:
    """Run ``block(x, *arguments)``; with ``checkpointing``, recompute its activations in the backward pass.

    That trades a forward pass per block for the memory of all intermediate results (Chen et al. 2016). Without
    gradients it changes nothing.
    """
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(block, x, *arguments, use_reentrant=False)
    return block(x, *arguments)


def _add_branch(x: Tensor, branch: Callable[[Tensor], Tensor], divisible: bool = True) -> Tensor:
    """``x + branch(x)`` for (B, N, C); inference on a CPU processes as many items at once as stay in its cache."""
    limit = cached_tokens(x.device)
    items = max(1, limit // x.shape[1])
    if limit == UNLIMITED or not divisible or x.shape[0] <= items:
        return x + branch(x)
    result = torch.empty_like(x)
    for part, out in zip(x.split(items), result.split(items), strict=True):
        torch.add(part, branch(part), out=out)
    return result
