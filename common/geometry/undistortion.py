"""A calibrated camera, and its pictures without the lens's distortion."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.geometry.calibration import Calibration


class Undistorter:
    """Pictures of one size as an ideal camera would have taken them: square pixels, principal point in the middle.

    The new focal length is the smallest that leaves no empty pixel at the border, so a little of the view is lost.
    The networks assume such a camera: they were trained on crops that are symmetric about the principal point.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    @cached_property
    def intrinsics(self) -> Tensor:
        """(3, 3) float64 of the undistorted pictures."""
        camera, (height, width) = self.calibration, self.calibration.size
        offsets = self._outline()
        x, y = offsets[:, 0], offsets[:, 1]
        # The outline of the picture, undistorted, at depth 1: the new view must stay inside on all four sides.
        quarter = len(offsets) // 4
        top, right, bottom, left = (slice(i * quarter, (i + 1) * quarter) for i in range(4))
        half_width = min(-x[left].max(), x[right].min())
        half_height = min(-y[top].max(), y[bottom].min())
        if not (half_width > 0 and half_height > 0):
            raise ValueError(f"the distortion {camera.distortion} folds the picture over; is the calibration right?")
        focal = max((width - 1) / 2 / half_width, (height - 1) / 2 / half_height)
        return torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], dtype=torch.float64)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 of the calibrated size to the same size, undistorted (bilinear)."""
        if image.shape[:2] != self.calibration.size:
            raise ValueError(f"expected a picture of {list(self.calibration.size)}, got {list(image.shape[:2])}")
        if self._is_ideal:
            return image
        columns, rows = self._maps
        straight = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(straight, np.uint8)

    @property
    def _is_ideal(self) -> bool:
        return bool(np.allclose(self.intrinsics.numpy(), self.calibration.matrix) and not any(self._coefficients))

    @property
    def _coefficients(self) -> NDArray[np.float64]:
        return np.array(self.calibration.distortion)

    @cached_property
    def _maps(self) -> tuple[NDArray, NDArray]:
        height, width = self.calibration.size
        return cv2.initUndistortRectifyMap(
            self.calibration.matrix, self._coefficients, None, self.intrinsics.numpy(), (width, height), cv2.CV_16SC2
        )

    def _outline(self, steps: int = 64) -> NDArray[np.float64]:
        """(4 * steps, 2) undistorted directions x/z, y/z of the picture's outline: top, right, bottom, left."""
        height, width = self.calibration.size
        across, down = np.linspace(0, width - 1, steps), np.linspace(0, height - 1, steps)
        sides = [
            np.stack([across, np.zeros(steps)], axis=1),
            np.stack([np.full(steps, width - 1), down], axis=1),
            np.stack([across, np.full(steps, height - 1)], axis=1),
            np.stack([np.zeros(steps), down], axis=1),
        ]
        camera = self.calibration
        distorted = (np.concatenate(sides) - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
        return self._undistort(distorted)

    def _undistort(self, distorted: NDArray[np.float64], rounds: int = 200) -> NDArray[np.float64]:
        """Directions (N, 2) that the lens bends to `distorted`, by fixed-point iteration."""
        ideal = distorted
        for _ in range(rounds):
            with np.errstate(all="ignore"):
                ideal = ideal + distorted - self._distort(ideal)
        error = np.abs(self._distort(ideal) - distorted).max() * self.calibration.fx
        if not error < 0.01:
            raise ValueError(f"the distortion {self.calibration.distortion} cannot be undone at the picture's border")
        return ideal

    def _distort(self, ideal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the lens puts directions (N, 2); Brown's model in OpenCV's form."""
        k1, k2, p1, p2, k3 = self.calibration.distortion
        x, y = ideal.T
        square = x * x + y * y
        radial = 1 + square * (k1 + square * (k2 + square * k3))
        bent_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
        bent_y = y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
        return np.stack([bent_x, bent_y], axis=1)
