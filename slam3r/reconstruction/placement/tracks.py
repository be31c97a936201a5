"""Corners of one picture found again in another by sparse optical flow.

A small network matches two views in patches of 16 pixels; a corner is found to a fraction of a pixel. Corners after
Shi and Tomasi, Good Features to Track, 1994; pyramidal flow after Lucas and Kanade, 1981, and Bouguet, 2001 (OpenCV).
A corner counts if tracking it back from the other image returns to its start.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_CORNERS = 400
CORNER_QUALITY = 0.003
"""Smallest response, as a share of the best corner's. Low, because a weak corner on a plain wall is better than none,
and tracking back rejects false ones."""
CORNER_SPACING = 5.0
"""Pixels."""
FLOW_WINDOW = (15, 15)
"""Pixels."""
FLOW_LEVELS = 3
"""Halvings of the picture; motions of up to about 60 pixels are followed."""
FLOW_STOP = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 20, 0.03)
"""At most 20 iterations; stops at a step below 0.03 pixels."""
RETURN_ERROR = 0.7
"""Largest distance in pixels between a corner and its position after forward and backward tracking."""


class TrackedPicture:
    """A grey picture and its corners, which are found on first use."""

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        """
        Args:
            grey: (H, W).
        """
        self.grey = grey

    @staticmethod
    def from_image(image: Tensor) -> TrackedPicture:
        """From a network image (3, H, W) in [-1, 1]."""
        levels = ((image.float().mean(dim=0) + 1) * 127.5).round().clamp(0, 255)
        return TrackedPicture(levels.to(torch.uint8).cpu().numpy())

    @cached_property
    def corners(self) -> NDArray[np.float32]:
        """(N, 1, 2) pixels (x, y); N may be 0."""
        corners = cv2.goodFeaturesToTrack(self.grey, MAX_CORNERS, CORNER_QUALITY, CORNER_SPACING)
        return np.empty((0, 1, 2), np.float32) if corners is None else np.asarray(corners, np.float32)


def match_corners(first: TrackedPicture, second: TrackedPicture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Track the corners of the first picture into the second.

    Args:
        first, second: pictures of one size.

    Returns:
        (N, 2) pixels (x, y) in the first, whole numbers, and in the second; N may be 0.
    """
    start = first.corners
    if len(start) == 0:
        return np.empty((0, 2), np.float32), np.empty((0, 2), np.float32)
    end, seen = _flow(first.grey, second.grey, start)
    back, seen_back = _flow(second.grey, first.grey, end)
    height, width = first.grey.shape
    start, end, back = start[:, 0], end[:, 0], back[:, 0]
    inside = ((end >= 0) & (end <= (width - 1, height - 1))).all(axis=1)
    good = seen & seen_back & inside & (np.linalg.norm(back - start, axis=1) < RETURN_ERROR)
    return start[good], end[good]


def follow(first: TrackedPicture, second: TrackedPicture) -> tuple[Tensor, Tensor]:
    """Corners that `match_corners` finds, as (N, 2) pixels (row, column) in the first and in the second, rounded."""
    start, end = match_corners(first, second)
    return _rows_and_columns(start), _rows_and_columns(end)


def _flow(
    first: NDArray[np.uint8], second: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, 1, 2) pixels (x, y) of the first picture in the second, and (N,) whether they were found."""
    # OpenCV's stubs do not know that the first guess may be None.
    end, found, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        first, second, points, None, winSize=FLOW_WINDOW, maxLevel=FLOW_LEVELS, criteria=FLOW_STOP
    )
    return np.asarray(end, np.float32), np.asarray(found)[:, 0] > 0


def _rows_and_columns(points: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(points[:, ::-1].round().astype(np.int64))
