"""Sinusoidal position maps, added to the feature maps of VGGT's dense heads."""

from __future__ import annotations

import torch
from torch import Tensor

POSITION_MAP_SCALE = 0.1
"""Weight of the map in the sum, as VGGT trained it."""
_BASE = 100.0


def position_map(size: tuple[int, int], aspect: float, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """Sinusoidal encoding of the cells' positions in a frame with half diagonal 1 (VGGT, Wang et al. 2025).

    The axes span plus and minus ``s (n - 1) / n`` over n cells, with ``s = a / sqrt(a^2 + 1)`` for x and
    ``1 / sqrt(a^2 + 1)`` for y; a is the aspect. Half of the channels encode x, half y, each as sines and then cosines
    at frequencies ``100^(-k / (channels / 4))``.

    Args:
        size: (rows, columns) of the map.
        aspect: width of the image over its height.
        channels: a multiple of 4.
        device: where to put the map.

    Returns:
        (channels, rows, columns) float32; angles are computed in float64.

    Raises:
        ValueError: if ``channels`` is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f"a position map needs a multiple of 4 channels, got {channels}")
    rows, columns = size
    diagonal = (aspect**2 + 1) ** 0.5
    x = _axis(columns, aspect / diagonal, channels // 4)
    y = _axis(rows, 1 / diagonal, channels // 4)
    encoding = torch.cat([x[:, None, :].expand(-1, rows, -1), y[:, :, None].expand(-1, -1, columns)])
    return encoding.to(device)


def _axis(count: int, half_extent: float, num_frequencies: int) -> Tensor:
    """(2 * frequencies, count) sines and cosines along one axis."""
    end = half_extent * (count - 1) / count
    places = torch.linspace(-end, end, count, dtype=torch.float64)
    frequencies = _BASE ** -(torch.arange(num_frequencies, dtype=torch.float64) / num_frequencies)
    angles = frequencies[:, None] * places
    return torch.cat([angles.sin(), angles.cos()]).float()
