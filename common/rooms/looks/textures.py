"""The texture bank: procedural patterns with mip levels, and their lookup at surface coordinates.

A texture holds three numbers per texel: two blend weights, which mix the three colours of a surface, and a detail
factor on the result. One pattern thus serves many surfaces. All patterns but the pictures repeat without a seam.
Photographs follow the patterns in an extended bank; their texels are sRGB colours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.rooms.looks import patterns
from common.views import TensorFields

SIZE = 256
"""Texels per period at the finest level."""

_LEVELS = 7
_FAMILIES = (
    "plain",
    "mottled",
    "wood",
    "planks",
    "checker",
    "stripes",
    "bricks",
    "tiles",
    "blobs",
    "fabric",
    "picture",
    "glyphs",
)
_VARIANTS = 6
FAMILY = {name: range(start * _VARIANTS, (start + 1) * _VARIANTS) for start, name in enumerate(_FAMILIES)}
"""Texture indices of each family of patterns."""
COUNT = len(_FAMILIES) * _VARIANTS
"""Patterns of a bank; larger indices are photographs."""


def family_of(texture: int) -> str:
    """Family of a pattern."""
    return _FAMILIES[texture // _VARIANTS]


@dataclass
class TextureBank(TensorFields):
    """All patterns and mip levels in one flat table."""

    texels: Tensor
    """(N,) int32: four bytes (two weights, detail, unused) of each texel; levels, then textures, rows, columns."""
    starts: Tensor
    """(levels,) int64: index of the first texel of each level."""


@lru_cache(maxsize=4)
def texture_bank(seed: int = 0, device: str = "cpu") -> TextureBank:
    """The bank of a seed; always computed on the CPU, so that it is the same on any machine."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for family in _FAMILIES:
        pattern = getattr(patterns, family)
        images += [pattern(SIZE, generator) for _ in range(_VARIANTS)]
    level = torch.stack(images).clamp(0, 1)
    tables = []
    for _ in range(_LEVELS):
        packed = F.pad(level.permute(0, 2, 3, 1), (0, 1)).mul(255).round().to(torch.uint8).contiguous()
        tables.append(packed.view(torch.int32).reshape(-1))
        level = F.avg_pool2d(level, 2)
    starts = torch.tensor([0] + [len(table) for table in tables[:-1]]).cumsum(0)
    return TextureBank(torch.cat(tables), starts).to(device)


def extended_bank(bank: TextureBank, photographs: list[np.ndarray]) -> TextureBank:
    """A bank on the CPU whose textures from COUNT on are photographs (SIZE, SIZE, 3) uint8 sRGB."""
    if not photographs:
        return bank
    ends = [*bank.starts[1:].tolist(), len(bank.texels)]
    level = [cv2.cvtColor(image, cv2.COLOR_RGB2RGBA) for image in photographs]
    tables = []
    for start, end in zip(bank.starts.tolist(), ends, strict=True):
        tables += [bank.texels[start:end], torch.from_numpy(np.stack(level)).view(torch.int32).reshape(-1)]
        level = [cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in level]
    starts = bank.starts + torch.tensor([0] + [len(table) for table in tables[1:-1:2]]).cumsum(0)
    return TextureBank(torch.cat(tables), starts)


def sample(bank: TextureBank, texture: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> Tensor:
    """Bilinear lookup (3, n), components in [0, 1], of texture indices (n,) at coordinates u, v (n,) in periods.

    footprint (n,): size of the pixel on the surface in periods; chooses the mip level.
    """
    level = (torch.log2(footprint * SIZE) + 0.25).round().clamp(0, _LEVELS - 1).long()
    size = torch.full_like(level, SIZE) >> level
    base = bank.starts.index_select(0, level) + texture * size * size
    scale = size.float()
    u, v = u * scale - 0.5, v * scale - 0.5
    left, top = u.floor(), v.floor()
    u, v = u - left, v - top
    mask = size - 1
    left, top = left.long(), top.long()
    right, left = (left + 1) & mask, left & mask
    lower, upper = base + ((top + 1) & mask) * size, base + (top & mask) * size
    first = torch.lerp(_texel(bank, upper + left), _texel(bank, upper + right), u)
    second = torch.lerp(_texel(bank, lower + left), _texel(bank, lower + right), u)
    return torch.lerp(first, second, v) / 255


def _texel(bank: TextureBank, index: Tensor) -> Tensor:
    """The three components (3, n) of texels, 0 to 255."""
    packed = bank.texels.index_select(0, index)
    return torch.stack((packed & 255, packed >> 8 & 255, packed >> 16 & 255)).float()


def mix_colors(texels: Tensor, colors: Tensor, surface: Tensor) -> Tensor:
    """Colours (3, n) of texels (3, n) with the three colours (S, 3, 3) of their surfaces (n,)."""
    base, second, third = (colors[:, k].T.contiguous().index_select(1, surface) for k in range(3))
    first_weight, second_weight, detail = texels
    mixed = torch.lerp(torch.lerp(base, second, first_weight), third, second_weight)
    return mixed * (2 * detail)


def color_photographs(colors: Tensor, texels: Tensor, tints: Tensor, texture: Tensor, surface: Tensor) -> None:
    """Replace colours (3, n), in place, where the texture (n,) is a photograph: its linear colour times the tint.

    texels (3, n) are sRGB in [0, 1]; the tints are the first colours of tints (S, 3, 3) at the surfaces (n,).
    """
    where = torch.nonzero(texture >= COUNT).squeeze(-1)
    tint = tints[:, 0].T.contiguous().index_select(1, surface.index_select(0, where))
    colors.index_copy_(1, where, texels.index_select(1, where).pow(2.2) * tint)


def turn_of(angle: float) -> tuple[float, float]:
    """Cosine and sine, the form in which angles are stored."""
    return math.cos(angle), math.sin(angle)
