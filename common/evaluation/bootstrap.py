"""Confidence interval of a mean over scenes: percentile bootstrap (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def bootstrap_mean(values: ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Interval of the mean of (N,) values; for paired differences, give the differences.

    With fewer than about eight values the interval is too narrow; with one it has no width.

    Raises:
        ValueError: there are no values.
    """
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or len(sample) == 0:
        raise ValueError(f"a mean needs values in one row, got shape {sample.shape}")
    mean = float(sample.mean())
    if len(sample) == 1:
        return Interval(mean, mean, mean)
    resampled = bootstrap(
        (sample,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = resampled.confidence_interval
    return Interval(mean, float(low), float(high))
