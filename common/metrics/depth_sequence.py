"""Depth errors of a whole sequence, a few images in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from common.metrics.aligned_depth import score_aligned_depth
from common.metrics.depth import score_depth


@dataclass(frozen=True)
class SequenceDepthScore:
    """Means over images (median scale) and over pixels (least squares), as each protocol has it."""

    abs_rel: float
    """Each image scaled by the ratio of medians (`common.metrics.depth`)."""
    rmse: float
    delta_1: float
    """Share within a factor of 1.25."""
    abs_rel_ls: float
    """Each image with scale and shift by trimmed least squares (`common.metrics.aligned_depth`)."""
    rmse_ls: float
    tau_1_ls: float
    """Share within a factor of 1.03."""
    num_images: int
    """Images with a valid pixel."""


def score_depth_sequence(chunks: Iterable[tuple[NDArray, NDArray]]) -> SequenceDepthScore:
    """Compare depth maps.

    Args:
        chunks: predicted (N, H, W), any unit, NaN or not positive where unknown, and true (N, H, W) metres, 0 invalid.

    Raises:
        ValueError: no image has a valid pixel.
    """
    by_image, by_pixel, images, pixels = np.zeros(3), np.zeros(3), 0, 0
    for prediction, truth in chunks:
        usable = np.isfinite(prediction) & (prediction > 0) & (truth > 0)
        some = usable.any(axis=(1, 2))
        if not some.any():
            continue
        guess, true = prediction[some], np.where(usable[some], truth[some], 0)
        median = score_depth(guess, true)
        fitted = score_aligned_depth(torch.from_numpy(np.ascontiguousarray(guess)), torch.from_numpy(true))
        by_image += int(some.sum()) * np.array([median.abs_rel, median.rmse, median.delta_1])
        by_pixel += fitted.pixels * np.array([fitted.abs_rel, fitted.rmse, fitted.tau_1])
        images, pixels = images + int(some.sum()), pixels + fitted.pixels
    if images == 0:
        raise ValueError("no image has a pixel with predicted and true depth")
    abs_rel, rmse, delta_1 = (by_image / images).tolist()
    abs_rel_ls, rmse_ls, tau_1_ls = (by_pixel / pixels).tolist()
    return SequenceDepthScore(abs_rel, rmse, delta_1, abs_rel_ls, rmse_ls, tau_1_ls, images)
