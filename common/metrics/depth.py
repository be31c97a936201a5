"""Errors of depth maps: relative error and the share of pixels within a factor of the truth (Eigen et al., 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DepthScore:
    """Mean over valid pixels of each image, then over images."""

    abs_rel: float
    """|prediction - truth| / truth."""
    rmse: float
    """Root mean square error, unit of the truth."""
    delta_1: float
    """Share with max(prediction / truth, truth / prediction) < 1.25."""
    delta_2: float
    """The same with 1.25 squared."""
    delta_3: float
    """The same with 1.25 cubed."""
    scales: NDArray[np.float64]
    """(N,) factors that the predictions were multiplied by; NaN for images without a valid pixel: they do not count."""


def score_depth(
    prediction: NDArray,
    truth: NDArray,
    valid: NDArray | None = None,
    scale: Literal["image", "sequence", "none"] = "image",
) -> DepthScore:
    """Compare depth maps.

    Args:
        prediction: (N, H, W) along z, any unit unless scale is "none".
        truth: (N, H, W) along z, metres; 0 where invalid.
        valid: (N, H, W) bool, pixels to compare besides truth > 0; all where None.
        scale: bring the prediction to the truth by the ratio of medians of each "image", of the whole "sequence",
            or not at all.
    """
    count = len(truth)
    predicted, true = (np.asarray(depth, np.float64).reshape(count, -1) for depth in (prediction, truth))
    mask = np.isfinite(true) & (true > 0) & np.isfinite(predicted)
    if valid is not None:
        mask &= np.asarray(valid, bool).reshape(count, -1)
    has_pixels = mask.any(axis=1)
    if not has_pixels.any():
        raise ValueError("no valid pixel")
    scales = np.full(count, np.nan)
    scales[has_pixels] = _scales(predicted[has_pixels], true[has_pixels], mask[has_pixels], scale)
    predicted, true, mask = predicted[has_pixels] * scales[has_pixels, None], true[has_pixels], mask[has_pixels]
    predicted, true = np.where(mask, predicted, 1), np.where(mask, true, 1)
    with np.errstate(divide="ignore"):
        ratio = np.where(predicted > 0, np.maximum(predicted / true, true / predicted), np.inf)
    error = np.abs(predicted - true)
    return DepthScore(
        abs_rel=_mean(error / true, mask),
        rmse=float(np.sqrt((error**2).sum(axis=1) / mask.sum(axis=1)).mean()),
        delta_1=_mean(ratio < 1.25, mask),
        delta_2=_mean(ratio < 1.25**2, mask),
        delta_3=_mean(ratio < 1.25**3, mask),
        scales=scales,
    )


def _scales(predicted: NDArray, true: NDArray, mask: NDArray, scale: str) -> NDArray | float:
    if scale == "none":
        return 1.0
    if scale == "sequence":
        return float(np.median(true[mask]) / np.median(predicted[mask]))
    medians = [np.nanmedian(np.where(mask, depth, np.nan), axis=1) for depth in (true, predicted)]
    return medians[0] / medians[1]


def _mean(values: NDArray, mask: NDArray) -> float:
    """Mean over each row's masked values, then over rows."""
    return float((np.where(mask, values, 0).sum(axis=1) / mask.sum(axis=1)).mean())
