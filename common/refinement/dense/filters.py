"""Image filters of the dense stages, on (..., H, W) tensors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def window_sums(values: Tensor, window: int) -> Tensor:
    """Sums over windows that lie inside: (..., H, W) to (..., H - window + 1, W - window + 1).

    Sums of 1, 2, 4 ... values are built on each other, so a window of 7 takes four additions along each axis. That is
    exact to rounding, where differences of running sums lose the digits that variances need.
    """
    return _running_sums(_running_sums(values, window, -2), window, -1)


def mean_filter(values: Tensor, radius: int) -> Tensor:
    """Means over (2 radius + 1)^2 windows of (..., H, W), cut off at the borders; the same cost for every radius.

    Along each axis this is a product with a banded matrix, which costs half as much as running sums in float64 at 224
    pixels, three quarters at 448 (one AVX2 thread).
    """
    rows, columns = (_window_means(values, values.shape[axis], radius) for axis in (-2, -1))
    return rows @ values @ columns.mT


def gaussian_filter(values: Tensor, sigma: float, weight: Tensor | None = None) -> Tensor:
    """Gaussian blur with standard deviation `sigma` in pixels.

    Args:
        values: (B, H, W).
        sigma: 0 leaves the values.
        weight: (B, H, W), not negative: the mean is weighted by it, and values of weight 0 do not count. A pixel
            that has no weight within its kernel keeps its value.
    """
    if sigma <= 0:
        return values
    weight = torch.ones_like(values) if weight is None else weight
    total = _convolve(weight, sigma)
    blurred = _convolve(torch.where(weight > 0, values * weight, 0), sigma) / total.clamp(min=1e-12)
    return torch.where(total > 1e-6, blurred, values)


def median_filter(values: Tensor, side: int) -> Tensor:
    """Median over side x side windows of (B, H, W), borders repeated."""
    if side <= 1:
        return values
    radius = side // 2
    padded = F.pad(values[:, None], (radius,) * 4, mode="replicate")[:, 0]
    windows = padded.unfold(-2, side, 1).unfold(-2, side, 1).flatten(-2)
    return windows.median(dim=-1).values


def guided_filter(values: Tensor, guide: Tensor, radius: int, edge: float) -> Tensor:
    """Edge-aware smoothing by a local linear model of the guide (He et al., TPAMI 2013, equations 5, 6 and 8).

    Args:
        values: (..., H, W).
        guide: grey in [0, 1], of a shape that broadcasts to that of the values.
        radius: of the windows.
        edge: variance of the guide from which on its edges are followed.
    """
    mean_guide, mean_values = mean_filter(guide, radius), mean_filter(values, radius)
    covariance = mean_filter(guide * values, radius) - mean_guide * mean_values
    variance = (mean_filter(guide * guide, radius) - mean_guide * mean_guide).clamp(min=0)
    slope = covariance / (variance + edge)
    offset = mean_values - slope * mean_guide
    return mean_filter(slope, radius) * guide + mean_filter(offset, radius)


def _window_means(like: Tensor, length: int, radius: int) -> Tensor:
    """(length, length) matrix that takes means over windows."""
    index = torch.arange(length, device=like.device)
    inside = ((index[:, None] - index).abs() <= radius).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def _running_sums(values: Tensor, window: int, axis: int) -> Tensor:
    length = values.shape[axis] - window + 1
    total = values.new_zeros(()) if window % 2 == 0 else values.narrow(axis, 0, length)
    taken, block, size = window % 2, values, 1  # `block` holds the sums of `size` values
    owned = False
    while 2 * size <= window:
        rest = block.shape[axis] - size
        block = block.narrow(axis, 0, rest) + block.narrow(axis, size, rest)
        size *= 2
        if window & size:
            part = block.narrow(axis, taken, length)
            total = total.add_(part) if owned else total + part
            owned = True
            taken += size
    return total


def _convolve(values: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian over (B, H, W), borders reflected as far as the picture goes."""
    height, width = values.shape[-2:]
    for axis, length in ((-2, height), (-1, width)):
        radius = math.ceil(4 * sigma)
        offsets = torch.arange(-radius, radius + 1, device=values.device)
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2).to(values.dtype)
        # Reflection is folded into a (length, length) matrix: it works for kernels wider than the picture.
        centre = torch.arange(length, device=values.device)
        source = _reflect(centre[:, None] + offsets[None], length)
        matrix = values.new_zeros(length, length)
        matrix.scatter_add_(1, source, (kernel / kernel.sum()).expand(length, -1).contiguous())
        values = matrix @ values if axis == -2 else values @ matrix.T
    return values


def _reflect(index: Tensor, length: int) -> Tensor:
    """Indices mirrored at the borders, border pixel repeated, into [0, length)."""
    folded = index.remainder(2 * length)
    return torch.minimum(folded, 2 * length - 1 - folded)
