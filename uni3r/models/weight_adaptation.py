"""Patch kernels and position tables for another patch size or grid, by pseudo-inverse resampling.

FlexiViT (Beyer et al. 2023, equation 4): the resampled kernel maps resized patches to the tokens that the original
kernel gives on the original patches. Uni3R is initialized from VGGT this way, with patches of 16 instead of 14 pixels,
and uses the same formula for the position table.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def adapt_patch_kernel(kernel: Tensor, size: int) -> Tensor:
    """(C, channels, p, p) to (C, channels, size, size)."""
    return _resample(kernel, size)


def adapt_position_table(entries: Tensor, side: int, class_last: bool = False) -> Tensor:
    """Resample a table of 1 + n * n entries, class entry first, to a grid of ``side`` x ``side``.

    Args:
        entries: (1, 1 + n * n, C).
        side: cells per side of the new grid.
        class_last: put the class entry at the end, as the published initialization does by mistake: every patch then
            reads its neighbour's entry. For comparisons with it only.

    Returns:
        (1, 1 + side * side, C).

    Raises:
        ValueError: if the number of grid entries is not a square.
    """
    cells = entries[:, 1:]
    old = table_side(entries.shape[1])
    image = cells.transpose(1, 2).unflatten(2, (old, old))
    resized = _resample(image, side).flatten(2).transpose(1, 2)
    return torch.cat([resized, entries[:, :1]] if class_last else [entries[:, :1], resized], dim=1)


def table_side(num_entries: int) -> int:
    """Cells per side of a table with ``num_entries`` entries, the class entry included.

    Raises:
        ValueError: if there is no such square.
    """
    side = round((num_entries - 1) ** 0.5)
    if side * side + 1 != num_entries:
        raise ValueError(f"a position table has one entry and a square of entries, not {num_entries}")
    return side


def _resample(maps: Tensor, size: int) -> Tensor:
    """(A, B, p, p) to (A, B, size, size), each p x p map by itself."""
    matrix = _pseudo_inverse(maps.shape[-1], size).to(maps.device)
    return (maps.double().flatten(2) @ matrix.mT).unflatten(2, (size, size)).to(maps.dtype)


@lru_cache(maxsize=4)
def _pseudo_inverse(old: int, new: int) -> Tensor:
    """(new^2, old^2): the pseudo-inverse of the transposed matrix of the antialiased bicubic resize old to new."""
    basis = torch.eye(old * old, dtype=torch.float64).view(-1, 1, old, old)
    resized = F.interpolate(basis, (new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.linalg.pinv(resized.view(old * old, new * new))
