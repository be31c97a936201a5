"""Upright boxes: turned about the up axis only, as furniture stands."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Box:
    """An upright box in a world with any up axis."""

    center: NDArray[np.float64]
    """(3,) world."""
    size: NDArray[np.float64]
    """(3,) full lengths along the axes."""
    axes: NDArray[np.float64]
    """(3, 3) right-handed, one axis a row: two horizontal ones, then up."""

    @property
    def volume(self) -> float:
        """Product of the lengths."""
        return float(self.size.prod())

    def corners(self) -> NDArray[np.float64]:
        """(8, 3) world; bit k of the number of a corner is its side along axis k."""
        signs = np.array([[(number >> axis & 1) - 0.5 for axis in range(3)] for number in range(8)])
        return self.center + (signs * self.size) @ self.axes

    def contains(self, points: ArrayLike, margin: float = 0.0) -> NDArray[np.bool_]:
        """Return for (N, 3) points whether they lie inside, or no farther than the margin outside of each side."""
        local = (np.asarray(points, np.float64) - self.center) @ self.axes.T
        return np.asarray((np.abs(local) <= self.size / 2 + margin).all(axis=-1))


def level_axes(up: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) right-handed axes, one a row, the last of which is the unit vector ``up`` (3,)."""
    third = np.asarray(up, np.float64) / np.linalg.norm(up)
    first = np.cross(np.eye(3)[np.abs(third).argmin()], third)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(third, first), third])


def fit_box(points: ArrayLike, up: ArrayLike, trim: float = 0.0) -> Box:
    """Fit the upright box of the smallest footprint around points.

    Args:
        points: (N, 3), N at least 1.
        up: (3,) up axis.
        trim: share of the points that may stick out, at each end of each axis.
    """
    frame = level_axes(up)
    local = np.asarray(points, np.float64) @ frame.T
    kept = local
    if trim > 0:
        low, high = np.quantile(local, [trim, 1 - trim], axis=0)
        inside = ((local >= low) & (local <= high)).all(axis=1)
        kept = local[inside] if inside.any() else local
    _, _, angle = cv2.minAreaRect(kept[:, :2].astype(np.float32))
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    axes = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) @ frame
    along = np.asarray(points, np.float64) @ axes.T
    low, high = np.quantile(along, [trim, 1 - trim], axis=0)
    return Box((low + high) / 2 @ axes, high - low, axes)


def box_iou(first: Box, second: Box) -> float:
    """Volume of the intersection over that of the union of two upright boxes of one world (same up axis)."""
    frame = level_axes(first.axes[2])
    rectangles: list[tuple[list[float], list[float], float]] = []
    heights = []
    for box in (first, second):
        center, side = frame @ box.center, frame @ box.axes[0]
        angle = float(np.rad2deg(np.arctan2(side[1], side[0])))
        rectangles.append((center[:2].tolist(), box.size[:2].tolist(), angle))
        heights.append((center[2] - box.size[2] / 2, center[2] + box.size[2] / 2))
    height = min(heights[0][1], heights[1][1]) - max(heights[0][0], heights[1][0])
    overlap = 0.0
    if height > 0:
        _, polygon = cv2.rotatedRectangleIntersection(rectangles[0], rectangles[1])
        if polygon is not None and len(polygon) > 2:
            overlap = float(cv2.contourArea(cv2.convexHull(polygon))) * height
    union = first.volume + second.volume - overlap
    return overlap / union if union > 0 else 0.0
