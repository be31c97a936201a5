"""Calibration of a pinhole camera with lens distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.ranges import Pixels, Positive

_ROUNDS = 200
_PRECISION = 0.01
"""Pixels."""


@dataclass(frozen=True)
class Calibration:
    """Pinhole with the distortion of Brown (1966) in OpenCV's order; a file of ``configs/camera``.

    Pixels of pictures of `size`, the centre of the top left pixel at (0, 0).
    """

    fx: Positive
    fy: Positive
    cx: Positive
    cy: Positive
    size: tuple[Pixels, Pixels]
    """(height, width) of the calibrated images. Images of the same aspect and another size are supported by scaling."""
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    def __post_init__(self) -> None:
        numbers = [self.fx, self.fy, self.cx, self.cy, *self.distortion]
        if not all(np.isfinite(numbers)):
            raise ValueError(f"a calibration is made of finite numbers, got {numbers}")
        if not (self.fx > 0 and self.fy > 0 and min(self.size) > 0):
            raise ValueError(f"focal lengths and size are positive, got fx={self.fx} fy={self.fy} size={self.size}")
        if not (0 < self.cx < self.size[1] and 0 < self.cy < self.size[0]):
            raise ValueError(f"the principal point ({self.cx}, {self.cy}) lies outside a picture of {self.size}")

    @property
    def distortion(self) -> tuple[float, float, float, float, float]:
        """k1, k2, p1, p2, k3."""
        return self.k1, self.k2, self.p1, self.p2, self.k3

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) intrinsics of the distorted picture."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])

    @property
    def is_straight(self) -> bool:
        """Whether there is no distortion."""
        return not any(self.distortion)

    def project(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) of directions (N, 2) as x / z, y / z in the camera; Brown's model in OpenCV's form."""
        return self._distort(directions) * [self.fx, self.fy] + [self.cx, self.cy]

    def unproject(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Directions (N, 2) as x / z, y / z of pixels (N, 2), by fixed-point iteration; NaN where it finds none."""
        distorted = (pixels - [self.cx, self.cy]) / [self.fx, self.fy]
        ideal = distorted
        for _ in range(_ROUNDS):
            with np.errstate(all="ignore"):
                ideal = ideal + distorted - self._distort(ideal)
        error = np.abs(self._distort(ideal) - distorted).max(axis=1, keepdims=True) * self.fx
        return np.where(error < _PRECISION, ideal, np.nan)

    def _distort(self, ideal: NDArray[np.float64]) -> NDArray[np.float64]:
        k1, k2, p1, p2, k3 = self.distortion
        x, y = ideal.T
        square = x * x + y * y
        radial = 1 + square * (k1 + square * (k2 + square * k3))
        bent_x = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
        bent_y = y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
        return np.stack([bent_x, bent_y], axis=1)

    def scaled(self, size: tuple[int, int]) -> Calibration:
        """The calibration of pictures that were resized to (height, width).

        Raises:
            ValueError: the aspect ratio differs, so the images were cropped or come from another camera.
        """
        if size == self.size:
            return self
        ratio = np.array(size) / np.array(self.size)
        if abs(ratio[0] / ratio[1] - 1) > 0.01:
            raise ValueError(f"the camera is calibrated for pictures of {list(self.size)}, this one is {list(size)}")
        y, x = (float(r) for r in ratio)
        centre = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return Calibration(self.fx * x, self.fy * y, *centre, size, *self.distortion)
