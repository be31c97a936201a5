"""Errors of depth maps known up to scale and shift, as multi-view depth papers report them.

Scale and shift come from least squares with trimming, per image, following Robust MVD (Schröppel et al. 2022,
arXiv 2209.06681) as Uni3R (arXiv 2508.03643) uses it; tau counts pixels within 3 %. `common.metrics.depth` has the
metrics of single-view depth with median scaling, which weight all images equally.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Alignment = Literal["least_squares", "median", "none"]


@dataclass(frozen=True)
class AlignedDepthScore:
    """Means over all valid pixels of all images; the RMSE is the pixel-weighted mean of the images' RMSE."""

    abs_rel: float
    """|prediction - truth| / truth; the papers print percent."""
    rmse: float
    """Unit of the truth."""
    tau_1: float
    """Share of pixels with max(prediction / truth, truth / prediction) < 1.03; the papers print percent."""
    tau_2: float
    """The same with 1.03 squared."""
    tau_3: float
    """The same with 1.03 cubed."""
    pixels: int
    """Valid pixels."""


def score_aligned_depth(
    prediction: Tensor,
    truth: Tensor,
    alignment: Alignment = "least_squares",
    trimming_rounds: int = 2,
    keep: float = 0.8,
    max_depth: float = 10.0,
    base: float = 1.03,
) -> AlignedDepthScore:
    """Align every image to its truth, then compare. The defaults are the published protocol.

    Args:
        prediction: (N, H, W) along z, any unit unless alignment is "none".
        truth: (N, H, W) along z, metres; 0 where invalid.
        alignment: scale and shift by least squares, scale by the median of the pixels' ratios, or nothing.
        trimming_rounds: refits of the least squares on the pixels with the smallest errors.
        keep: share of those pixels.
        max_depth: predictions aligned by least squares are clamped to it, unit of the truth.
        base: first threshold of tau; the others are its powers.

    Raises:
        ValueError: no pixel is valid.
    """
    rows, counts = [], []
    guesses, truths = (depth.detach().float().cpu().numpy() for depth in (prediction, truth))
    for guess, true in zip(guesses, truths, strict=True):
        valid = (true > 0) & np.isfinite(true) & np.isfinite(guess)
        count = int(np.count_nonzero(valid))
        if count == 0:
            continue
        aligned = _align(guess[valid], true[valid], alignment, trimming_rounds, keep, max_depth)
        rows.append(_errors(aligned.astype(np.float64), true[valid].astype(np.float64), base))
        counts.append(count)
    if not rows:
        raise ValueError("no valid pixel in any depth map")
    abs_rel, rmse, tau_1, tau_2, tau_3 = np.average(rows, axis=0, weights=counts).tolist()
    return AlignedDepthScore(abs_rel, rmse, tau_1, tau_2, tau_3, sum(counts))


def fit_scale_and_shift(prediction: NDArray, truth: NDArray) -> tuple[np.float32, np.float32]:
    """Least-squares scale and shift with truth = scale * prediction + shift, of (P,) values; solved in double."""
    guess, true = prediction.astype(np.float64), truth.astype(np.float64)
    centred = guess - guess.mean()
    scale = centred @ (true - true.mean()) / max(centred @ centred, 1e-12)
    return np.float32(scale), np.float32(true.mean() - scale * guess.mean())


def _align(guess: NDArray, true: NDArray, alignment: Alignment, rounds: int, keep: float, max_depth: float) -> NDArray:
    if alignment == "none":
        return guess
    if alignment == "median":
        with np.errstate(divide="ignore"):  # a predicted depth of 0 would give an infinite ratio
            return guess * _ranked(true / guess, (len(true) - 1) // 2)
    if alignment != "least_squares":
        raise ValueError(f"unknown alignment {alignment!r}; use least_squares, median or none")
    scale, shift = fit_scale_and_shift(guess, true)
    for _ in range(rounds):
        error = np.abs(scale * guess + shift - true)
        good = error < _ranked(error, min(len(error) - 1, int(keep * len(error))))
        if np.count_nonzero(good) < 2:  # errors tie in an exact fit, or there are hardly any pixels
            break
        scale, shift = fit_scale_and_shift(guess[good], true[good])
    return np.minimum(scale * guess + shift, np.float32(max_depth))


def _ranked(values: NDArray, rank: int) -> np.float32:
    """Value at a rank of the sorted order."""
    return np.partition(values, rank)[rank]


def _errors(guess: NDArray, true: NDArray, base: float) -> list[float]:
    """AbsRel, RMSE and the three shares. A prediction that is not positive is outside every threshold."""
    error = np.abs(guess - true)
    with np.errstate(divide="ignore"):
        ratio = np.where(guess > 0, np.maximum(guess / true, true / guess), np.inf)
    shares = [float(np.count_nonzero(ratio < base**power)) / len(true) for power in (1, 2, 3)]
    return [float((error / true).mean()), float(np.sqrt((error**2).mean())), *shares]
