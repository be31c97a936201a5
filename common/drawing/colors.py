"""Colours for maps of numbers: depth, confidence, scores."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

_UNKNOWN = 128


def color_depth(depth: ArrayLike, limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Colour a depth map: near warm, far cold, unknown grey; linear in inverse depth.

    Args:
        depth: (H, W), any unit; unknown where not positive or not finite.
        limits: nearest and farthest depth of the palette; None for the 2nd and 98th percentile of this map.

    Returns:
        (H, W, 3) RGB.
    """
    values = np.asarray(depth, np.float64)
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        return np.full((*values.shape, 3), _UNKNOWN, np.uint8)
    near, far = limits or depth_limits(values)
    inverse = 1 / np.where(known, values, 1)
    picture = _colored((inverse - 1 / far) / max(1 / near - 1 / far, 1e-12), cv2.COLORMAP_TURBO)
    picture[~known] = _UNKNOWN
    return picture


def depth_limits(depth: ArrayLike) -> tuple[float, float]:
    """2nd and 98th percentile of the known depths, of any shape; (1, 2) if there are none."""
    values = np.asarray(depth, np.float64)
    known = values[np.isfinite(values) & (values > 0)]
    near, far = np.quantile(known, [0.02, 0.98]) if len(known) else (1.0, 2.0)
    return float(near), float(far)


def color_scores(scores: ArrayLike, low: float, high: float) -> NDArray[np.uint8]:
    """(H, W) numbers to (H, W, 3) RGB, dark at ``low`` and below, bright at ``high`` and above."""
    shade = (np.asarray(scores, np.float64) - low) / max(high - low, 1e-12)
    return _colored(np.nan_to_num(shade), cv2.COLORMAP_VIRIDIS)


def color_heat(values: ArrayLike) -> NDArray[np.uint8]:
    """(H, W) values in [0, 1], others clipped, to (H, W, 3) RGB from black over red to yellow."""
    return _colored(np.nan_to_num(np.asarray(values, np.float64)), cv2.COLORMAP_INFERNO)


def color_confidence(confidence: ArrayLike, highest: float) -> NDArray[np.uint8]:
    """(H, W) confidences above 1 to (H, W, 3) RGB by their logarithm, bright at the highest."""
    return color_scores(np.log(np.maximum(np.asarray(confidence, np.float64), 1)), 0.0, np.log(max(highest, 1.001)))


def _colored(shade: NDArray, palette: int) -> NDArray[np.uint8]:
    values = (np.clip(shade, 0, 1) * 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(values, palette), cv2.COLOR_BGR2RGB), np.uint8)
