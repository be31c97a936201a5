"""One transformer block for every use: encoder, multi-view decoder and, by its options, the VGGT and DINO families."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.backbone.attention import MaxPooledCrossAttention, SelfAttention
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
            norm_eps: epsilon of the layer norms.
            cross_attention: add cross attention to memory views between self attention and MLP.
            qk_norm: normalize queries and keys per head (VGGT).
            layer_scale: initial value of a learnt scale per channel on both residual branches (DINOv2, VGGT).
        """
        super().__init__()

        def scale() -> nn.Module:
            return nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

        self.self_norm = nn.LayerNorm(width, eps=norm_eps)
        self.self_attention = SelfAttention(width, num_heads, qk_norm)
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
        memory: Tensor | None = None,
        memory_chunk: int | None = None,
    ) -> Tensor:
        """
        Args:
            x: (B, N, C) tokens, or (B, T, N, C) for T target views with a memory.
            rotary: positions of the N tokens.
            memory: (B, M, N, C) streams of the memory views; required exactly if the block has cross attention.
            memory_chunk: see `MaxPooledCrossAttention`.

        Returns:
            The updated stream, shaped as ``x``.
        """
        dtype = self.mlp.fc1.weight.dtype
        if self.cross_attention is None:
            x = x + self.scale1(self.self_attention(self.self_norm(x).to(dtype), rotary))
        else:
            assert memory is not None, "a block with cross attention needs a memory"
            x = x + self.scale1(self._attend_within_views(self.self_norm(x).to(dtype), rotary))
            target, views = self.cross_norm(x).to(dtype), self.memory_norm(memory).to(dtype)
            x = x + self.cross_attention(target, views, rotary, memory_chunk)
        return x + self.scale2(self.mlp(self.mlp_norm(x).to(dtype)))

    def _attend_within_views(self, x: Tensor, rotary: Rotary | None) -> Tensor:
        rotary = None if rotary is None else rotary.repeat_items(x.shape[1])
        return self.self_attention(x.flatten(0, 1), rotary).view(x.shape)
