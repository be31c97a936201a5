"""Measured depths in the dense stages: they scale and bend the network's depth, and hold the search where they are."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from common.refinement.dense.depth_grid import fill_invalid, fit_grid
from common.refinement.dense.filters import gaussian_filter
from common.refinement.dense.settings import DepthGridSettings
from common.refinement.types import Prediction

SAMPLES = 2000
"""Measured depths of a frame that the grid is fitted to, at most."""
_REACH = 0.6  # standard deviation of the finest interpolation, in mean distances between measured pixels
_COARSER = (8.0, 2.0, 1.0)


def measured_prediction(prediction: Prediction, given: Tensor, settings: DepthGridSettings) -> Prediction:
    """The network's prediction in the unit of measured depths, each frame bent smoothly onto its own.

    Args:
        prediction: of N frames.
        given: (N, H, W), 0 where nothing was measured.
        settings: of the smooth correction. Frames with fewer than `min_tracks` measured pixels take the median factor.

    Returns:
        Depths that equal the measured ones where there are any, and poses in their unit.
    """
    usable = prediction.valid & torch.isfinite(prediction.depth) & (prediction.depth > 0)
    depth = fill_invalid(prediction.depth, usable).exp()
    medians: list[float] = []
    missing: list[int] = []
    for frame in range(len(depth)):
        pixels, ratios = depth_samples(given[frame], usable[frame], depth[frame])
        if len(ratios) < settings.min_tracks:
            missing.append(frame)
            continue
        medians.append(float(ratios.median()))
        size = (int(depth.shape[-2]), int(depth.shape[-1]))
        depth[frame] *= fit_grid(pixels, ratios, size, settings).exp()
    factor = float(torch.tensor(medians).median().exp()) if medians else 1.0
    depth[missing] *= factor
    poses = prediction.camera_to_world.clone()
    poses[:, :3, 3] *= factor
    known = given > 0
    return replace(
        prediction, depth=torch.where(known, given, depth), valid=prediction.valid | known, camera_to_world=poses
    )


def depth_samples(given: Tensor, usable: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """At most `SAMPLES` measured pixels of a frame, spread evenly over its rows.

    Args:
        given: (H, W), 0 where nothing was measured.
        usable: (H, W) bool, pixels whose predicted depth may be compared.
        depth: (H, W) predicted, positive.

    Returns:
        (M, 2) float32 pixels as (x, y), and (M,) log of measured over predicted depth.
    """
    y, x = torch.nonzero((given > 0) & usable, as_tuple=True)
    step = max(1, -(-len(y) // SAMPLES))
    y, x = y[::step], x[::step]
    return torch.stack([x, y], dim=1).float(), (given[y, x] / depth[y, x]).log()


def spread_given(depth: Tensor, given: Tensor) -> Tensor:
    """Carry measured depths over to the pixels around them, as factors on the depth there.

    Normalized convolution (Knutsson and Westin 1993) of the log ratio, coarse to fine, the finest as wide as measured
    pixels are apart; far from any of them the depth stays.

    Args:
        depth: (N, H, W), positive.
        given: (N, H, W), 0 where nothing was measured.

    Returns:
        (N, H, W); measured pixels have their own depth.
    """
    result = depth.clone()
    for frame in torch.nonzero((given > 0).flatten(1).any(dim=1))[:, 0].tolist():
        known = (given[frame] > 0)[None].float()
        share = float(known.mean())
        for coarser in _COARSER:
            sigma = coarser * _REACH / share**0.5
            residual = torch.where(known > 0, (given[frame].clamp(min=1e-12) / result[frame]).log()[None], 0.0)
            near = (gaussian_filter(known, sigma) / (0.5 * share)).clamp(max=1)
            result[frame] *= (near * gaussian_filter(residual, sigma, known))[0].exp()
    return torch.where(given > 0, given, result)


def vouched(correlation: Tensor, depth: Tensor, given: Tensor, tolerance: float) -> Tensor:
    """The correlation (N, H, W), 1 where a measurement vouches for the depth: a blank wall needs no texture then."""
    agrees = (given > 0) & ((depth / given.clamp(min=1e-12) - 1).abs() < tolerance)
    return torch.where(agrees, 1.0, correlation)
