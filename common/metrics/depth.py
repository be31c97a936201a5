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
    pairs: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for image in range(count):
        predicted, true = np.asarray(prediction[image]), np.asarray(truth[image])
        mask = np.isfinite(true) & (true > 0) & np.isfinite(predicted)
        if valid is not None:
            mask &= np.asarray(valid[image], bool)
        if mask.any():
            pairs[image] = predicted[mask].astype(np.float64), true[mask].astype(np.float64)
    if not pairs:
        raise ValueError("no valid pixel")
    scales = np.full(count, np.nan)
    scales[list(pairs)] = _scales(list(pairs.values()), scale)
    errors = [_errors(predicted * scales[image], true) for image, (predicted, true) in pairs.items()]
    abs_rel, rmse, delta_1, delta_2, delta_3 = np.mean(errors, axis=0).tolist()
    return DepthScore(abs_rel, rmse, delta_1, delta_2, delta_3, scales)


def _scales(pairs: list[tuple[NDArray, NDArray]], scale: str) -> NDArray | float:
    if scale == "none":
        return 1.0
    if scale == "sequence":
        predicted, true = (np.concatenate(depths) for depths in zip(*pairs, strict=True))
        return float(np.median(true) / np.median(predicted))
    return np.array([np.median(true) / np.median(predicted) for predicted, true in pairs])


def _errors(predicted: NDArray, true: NDArray) -> list[float]:
    """AbsRel, RMSE and the three shares of an image, of its valid pixels (P,)."""
    with np.errstate(divide="ignore"):
        ratio = np.where(predicted > 0, np.maximum(predicted / true, true / predicted), np.inf)
    error = np.abs(predicted - true)
    shares = [float(np.count_nonzero(ratio < 1.25**power)) / len(true) for power in (1, 2, 3)]
    return [float((error / true).mean()), float(np.sqrt((error**2).mean())), *shares]
