"""Two-dimensional rotary position embedding (Su et al. 2021, RoFormer; 2-D form of CroCo v2, Weinzaepfel et al. 2023).

The head dimension is cut in two halves: the first is rotated by the token's row, the second by its column.
Inside a half of size d, channel j is paired with channel j + d/2 and turned by ``position * base ** (-2 j / d)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEFAULT_BASE = 100.0
"""Frequency base of CroCo, DUSt3R and SLAM3R."""


@dataclass(frozen=True)
class Rotary:
    """Cosines and sines of every token's angles, ready to be broadcast over heads."""

    cos: Tensor
    """(N, D) or (B, 1, N, D) float32."""
    sin: Tensor
    """Same shape as ``cos``, with the sign of the rotation folded in."""

    def rotate(self, x: Tensor) -> Tensor:
        """Rotate queries or keys.

        Args:
            x: (B, heads, N, D), or (B, heads, V * N, D) where N tokens of this table repeat for V views.

        Returns:
            The rotated tensor in the type of ``x``, laid out in memory with the tokens before the heads.
        """
        # Projections and attention both keep tokens before heads; the other order would cost two copies.
        x = x.transpose(-3, -2)
        cos, sin = (_tokens_before_heads(table).to(x.dtype) for table in (self.cos, self.sin))
        # (axis, member of the pair, frequency): swapping the members gives the partner of every channel.
        first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)
        swapped = torch.stack((second, first), dim=-2).flatten(-3)
        return swapped.mul_(sin).addcmul_(x, cos).transpose(-3, -2)

    def repeat(self, views: int) -> Rotary:
        """Table for ``views`` images whose tokens are concatenated along the token axis."""
        if views == 1:
            return self
        repeats = [1] * (self.cos.ndim - 2) + [views, 1]
        return Rotary(self.cos.repeat(repeats), self.sin.repeat(repeats))

    def repeat_items(self, views: int) -> Rotary:
        """Table for a batch whose items were each split into ``views`` consecutive ones."""
        if self.cos.ndim == 2 or views == 1:
            return self
        return Rotary(self.cos.repeat_interleave(views, 0), self.sin.repeat_interleave(views, 0))


def _tokens_before_heads(table: Tensor) -> Tensor:
    """(N, D) or (B, 1, N, D) to (N, 1, D) or (B, N, 1, D)."""
    return table.unsqueeze(-2) if table.ndim == 2 else table.transpose(-3, -2)


def rotary_from_positions(positions: Tensor, head_dim: int, base: float = DEFAULT_BASE) -> Rotary:
    """Rotary table for explicit token positions.

    Args:
        positions: (N, 2) or (B, N, 2) integer (row, column) of every token.
        head_dim: channels per attention head, a multiple of 4.
        base: frequency base.

    Returns:
        The table in float32, whatever the autocast state.

    Raises:
        ValueError: if ``head_dim`` is not a multiple of 4.
    """
    if head_dim % 4:
        raise ValueError(f"2-D rotary embedding needs a head dimension that is a multiple of 4, got {head_dim}")
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, dtype=torch.float32, device=positions.device) / half
    frequencies = base**-exponents
    angles = positions.to(torch.float32)[..., None] * frequencies  # (..., N, 2, half / 2)
    cos = torch.stack([angles.cos(), angles.cos()], dim=-2).flatten(-3)
    sin = torch.stack([-angles.sin(), angles.sin()], dim=-2).flatten(-3)
    if positions.ndim == 3:
        cos, sin = cos[:, None], sin[:, None]
    return Rotary(cos, sin)
