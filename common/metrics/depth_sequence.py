"""Depth errors of a whole sequence, an image per thread in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from common.metrics.aligned_depth import score_aligned_depth
from common.metrics.depth import score_depth


@dataclass(frozen=True)
class SequenceDepthScore:
    """Means over images (median scale) and over pixels (least squares), as in the respective protocol."""

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


def score_depth_sequence(
    image: Callable[[int], tuple[NDArray, NDArray]], count: int, workers: int = -1
) -> SequenceDepthScore:
    """Compare depth maps.

    Args:
        image: returns the n-th pair: predicted (H, W), any unit, NaN or not positive where unknown, and true (H, W)
            metres, 0 invalid. Called from several threads.
        count: number of pairs.
        workers: threads; -1 for as many as there are cores.

    Raises:
        ValueError: no image has a valid pixel.
    """

    def score(index: int) -> tuple[list[float], int] | None:
        return _image_errors(*image(index))

    with ThreadPoolExecutor(workers if workers > 0 else os.cpu_count()) as threads:
        found = [row for row in threads.map(score, range(count)) if row is not None]
    if not found:
        raise ValueError("no image has a pixel with predicted and true depth")
    rows, pixels = np.array([row for row, _ in found]), [number for _, number in found]
    abs_rel, rmse, delta_1 = rows[:, :3].mean(axis=0).tolist()
    abs_rel_ls, rmse_ls, tau_1_ls = np.average(rows[:, 3:], axis=0, weights=pixels).tolist()
    return SequenceDepthScore(abs_rel, rmse, delta_1, abs_rel_ls, rmse_ls, tau_1_ls, len(found))


def _image_errors(prediction: NDArray, truth: NDArray) -> tuple[list[float], int] | None:
    """The six errors of an image and its valid pixels; None where there are none."""
    usable = np.isfinite(prediction) & (prediction > 0) & np.isfinite(truth) & (truth > 0)
    if not usable.any():
        return None
    guess, true = prediction[usable][None], truth[usable][None]
    median = score_depth(guess, true)
    fitted = score_aligned_depth(torch.from_numpy(guess), torch.from_numpy(true))
    row = [median.abs_rel, median.rmse, median.delta_1, fitted.abs_rel, fitted.rmse, fitted.tau_1]
    return row, fitted.pixels
