"""Pixels of one picture found again in another: corners followed by sparse optical flow.

A small network sees in patches of 16 pixels where two views fit together; a corner is found to a fraction of a pixel.
Corners after Shi and Tomasi, Good Features to Track, 1994; pyramidal flow after Lucas and Kanade, 1981, and Bouguet,
2001 (OpenCV); a corner counts that is found back from the other picture.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_CORNERS = 400
CORNER_QUALITY = 0.003
"""Of the best corner's response. Low: a corner on a plain wall is better than none; a false one is not found back."""
CORNER_SPACING = 5.0
"""Pixels."""
FLOW_WINDOW = (15, 15)
"""Pixels."""
FLOW_LEVELS = 3
"""Halvings of the picture; motions of up to about 60 pixels are followed."""
FLOW_STOP = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 20, 0.03)
"""Steps at most, and the pixels of a step that is the last."""
RETURN_ERROR = 0.7
"""Pixels that a corner may be off after it was followed there and back."""


def grey(image: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) in [-1, 1] to (H, W)."""
    levels = ((image.float().mean(dim=0) + 1) * 127.5).round().clamp(0, 255)
    return levels.to(torch.uint8).cpu().numpy()


def follow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Corners of the first picture that the second shows as well.

    Args:
        first, second: (H, W) grey pictures of one size.

    Returns:
        (N, 2) pixels (row, column) in the first and in the second, rounded; N may be 0.
    """
    nothing = torch.zeros(0, 2, dtype=torch.long)
    corners = cv2.goodFeaturesToTrack(first, MAX_CORNERS, CORNER_QUALITY, CORNER_SPACING)
    if corners is None:
        return nothing, nothing
    start = np.asarray(corners, np.float32)
    end, seen = _flow(first, second, start)
    back, seen_back = _flow(second, first, end)
    height, width = first.shape
    start, end, back = start[:, 0], end[:, 0], back[:, 0]
    inside = ((end >= 0) & (end <= (width - 1, height - 1))).all(axis=1)
    good = seen & seen_back & inside & (np.linalg.norm(back - start, axis=1) < RETURN_ERROR)
    return _rows_and_columns(start[good]), _rows_and_columns(end[good])


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
