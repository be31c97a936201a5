"""Steps of the control that chooses points: a share of them, or how many views see each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SAMPLE = 1_000_000


@dataclass(frozen=True)
class Levels:
    """Whole steps of a control, each with the confidence that its points exceed."""

    label: str
    """Name of the control."""
    help: str
    """Sentence that explains it."""
    thresholds: tuple[float, ...]
    """Threshold of each step, from step 0; a point is chosen if its confidence is strictly above."""
    default: int
    """Step at the beginning."""
    first: int = 1
    """Lowest step that can be chosen."""

    @property
    def last(self) -> int:
        """Highest step."""
        return len(self.thresholds) - 1

    def threshold(self, step: float) -> float:
        """The confidence that the points of a step exceed; steps beyond the ends count as these."""
        return self.thresholds[max(self.first, min(round(step), self.last))]

    def chosen(self, confidence: NDArray[np.float32], step: float) -> NDArray[np.bool_]:
        """Mask of the points of a step, by their confidences."""
        return confidence > self.threshold(step)


def levels_by_share(confidence: ArrayLike, default: float = 0.5, kind: str = "points") -> Levels:
    """A step per percent: that share of the points, the most confident ones.

    Args:
        confidence: (P,) of points in random order.
        default: share at the beginning, from 0 to 1.
        kind: name of the points, in the plural.
    """
    values = np.asarray(confidence, np.float32)[:_SAMPLE]
    values = values if len(values) else np.zeros(1, np.float32)
    # Just below an existing value, so that a strict comparison keeps the points with that value.
    lowest = np.nextafter(np.quantile(values, 1 - np.arange(1, 101) / 100, method="higher"), np.float32(-np.inf))
    return Levels(
        label=f"Share of {kind}, %",
        help=f"The most confident {kind}, which are shown and written.",
        thresholds=(float(values.max()), *lowest.tolist()),
        default=int(np.clip(round(100 * default), 1, 100)),
    )


def levels_by_views(views: ArrayLike) -> Levels:
    """A step per number of views that see a point where it is, its own included; the default asks for confirmation.

    Args:
        views: (P,) numbers of views; 1 where no other view confirms the point.
    """
    values = np.asarray(views, np.float32)[:_SAMPLE]
    confirmed = values[values > 1]
    if not len(confirmed):
        return Levels(_VIEWS_LABEL, "No other view confirms any point.", (0.0, 0.0), default=1)
    default = round(float(confirmed.min()))
    last = max(default, round(float(np.quantile(confirmed, 0.99))))
    share = len(confirmed) / len(values)
    return Levels(
        label=_VIEWS_LABEL,
        help=f"{share:.0%} of the points are confirmed by other views; 1 shows all points.",
        thresholds=tuple(step - 0.5 for step in range(last + 1)),
        default=default,
    )


_VIEWS_LABEL = "Seen by at least so many views"
