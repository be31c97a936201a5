"""The Fisheye624 camera of Project Aria glasses: radial, tangential and thin prism distortion of a fisheye lens.

Sources: "Camera Intrinsic Models for Project Aria devices" (documentation of projectaria_tools, model
FisheyeRadTanThinPrism with six radial, two tangential and four thin prism coefficients and one focal length), and
Engel et al., "Project Aria: A New Tool for Egocentric Multi-Modal AI Research", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_STEPS = 20
_CONVERGED = 1e-12
_LARGEST_ANGLE = 0.999 * np.pi / 2


@dataclass(frozen=True)
class Fisheye624:
    """A camera; pixels with the centre of the top left pixel at (0, 0), OpenCV axes (x right, y down, z forward).

    With (x, y, z) a point in front of the camera, r = |(x/z, y/z)| and theta = atan(r):

        (u, v) = theta (1 + sum_i k_i theta^(2 i)) (x/z, y/z) / r,   i = 1 .. 6
        d = (u, v) + (2 (u p_0 + v p_1)) (u, v) + rho p + (s_0 rho + s_1 rho^2, s_2 rho + s_3 rho^2),   rho = u^2 + v^2
        pixel = focal d + principal point
    """

    focal: float
    principal_point: tuple[float, float]
    """(x, y), pixels."""
    radial: tuple[float, ...] = (0.0,) * 6
    tangential: tuple[float, float] = (0.0, 0.0)
    thin_prism: tuple[float, float, float, float] = (0.0,) * 4

    def project(self, points: ArrayLike) -> Array:
        """Pixels (..., 2) of points (..., 3) in the camera's frame; NaN at or behind the camera (z <= 0)."""
        points = np.asarray(points, np.float64)
        depth = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        tangent = points[..., :2] / depth[..., None]
        radius = np.linalg.norm(tangent, axis=-1)
        theta = np.arctan(radius)
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = np.where(radius > 0, self._radial(theta) / radius, 1.0)
        distorted = self._distort(factor[..., None] * tangent)
        return self.focal * distorted + np.asarray(self.principal_point)

    def unproject(self, pixels: ArrayLike) -> Array:
        """Unit viewing rays (..., 3) of pixels (..., 2), by Newton's method; the inverse of `project`.

        Outside the calibrated part of the image the polynomial may have no inverse: such rays do not project back.
        """
        distorted = (np.asarray(pixels, np.float64) - np.asarray(self.principal_point)) / self.focal
        uv = distorted.copy()
        for _ in range(_STEPS):
            step = _solve(self._distort_derivative(uv), distorted - self._distort(uv))
            uv = uv + step
            if np.abs(step).max(initial=0) < _CONVERGED:
                break
        radius = np.linalg.norm(uv, axis=-1)
        theta = self._angle(radius)
        direction = uv / np.where(radius > 0, radius, 1.0)[..., None]
        return np.concatenate([np.sin(theta)[..., None] * direction, np.cos(theta)[..., None]], axis=-1)

    def resized(self, factor: float) -> Fisheye624:
        """The camera of an image enlarged `factor` times in both directions."""
        x, y = ((value + 0.5) * factor - 0.5 for value in self.principal_point)
        return replace(self, focal=self.focal * factor, principal_point=(x, y))

    def _radial(self, theta: Array) -> Array:
        """Distorted radius of rays at the angle theta (radians) from the axis."""
        return theta * np.polynomial.polynomial.polyval(theta * theta, (1.0, *self.radial))

    def _radial_derivative(self, theta: Array) -> Array:
        coefficients = [(2 * i + 1) * k for i, k in enumerate((1.0, *self.radial))]
        return np.polynomial.polynomial.polyval(theta * theta, np.array(coefficients))

    def _angle(self, radius: Array) -> Array:
        """Inverse of `_radial`: angles (radians) of distorted radii."""
        theta = np.minimum(radius, _LARGEST_ANGLE)
        for _ in range(_STEPS):
            slope = self._radial_derivative(theta)
            slope = np.where(np.abs(slope) > 1e-9, slope, 1e-9)
            step = (radius - self._radial(theta)) / slope
            theta = np.clip(theta + step, 0.0, _LARGEST_ANGLE)
            if np.abs(step).max(initial=0) < _CONVERGED:
                break
        return theta

    def _distort(self, uv: Array) -> Array:
        """Tangential and thin prism distortion of radially distorted coordinates (..., 2)."""
        p, s = np.asarray(self.tangential), np.asarray(self.thin_prism)
        rho = (uv * uv).sum(-1, keepdims=True)
        return uv * (1 + 2 * (uv @ p)[..., None]) + rho * p + rho * s[[0, 2]] + rho * rho * s[[1, 3]]

    def _distort_derivative(self, uv: Array) -> Array:
        """(..., 2, 2): rows are outputs of `_distort`, columns its inputs."""
        p, s = np.asarray(self.tangential), np.asarray(self.thin_prism)
        rho = (uv * uv).sum(-1)[..., None]
        identity = (1 + 2 * (uv @ p))[..., None, None] * np.eye(2)
        by_rho = p + s[[0, 2]] + 2 * rho * s[[1, 3]]
        return identity + 2 * uv[..., :, None] * p + 2 * by_rho[..., :, None] * uv[..., None, :]


def _solve(matrix: Array, vector: Array) -> Array:
    """(..., 2) solutions of systems (..., 2, 2) by Cramer's rule: many times faster than LAPACK on small ones."""
    (a, b), (c, d) = np.moveaxis(matrix, (-2, -1), (0, 1))
    x, y = np.moveaxis(vector, -1, 0)
    return np.stack([d * x - b * y, a * y - c * x], axis=-1) / (a * d - b * c)[..., None]


ASE_RGB_704 = Fisheye624(
    focal=297.6375381033778,
    principal_point=(357.6599197217746, 349.1922497127481),
    radial=(
        0.3650890375644368,
        -0.1738082418112771,
        -0.7534945484033189,
        2.434788882752295,
        -2.57786220300886,
        0.8788483538598834,
    ),
    tangential=(0.0008005198595407136, -0.000294237814554143),
)
"""The RGB camera of all Aria Synthetic Environments scenes at 704 x 704 (projectaria_tools, AseCalibrationProvider)."""

ASE_VALID_RADIUS_704 = 1415.0 / 4
"""Pixels about the principal point that the lens exposes, at 704 x 704 (same source)."""

ASE_DEVICE_FROM_CAMERA = (
    (0.9441858687689326, 0.326409343828490850, 0.029274992008313648, 0.033361059956531547),
    (-0.007530096566173914, -0.010908549841580260, -0.003598063315542823),
)
"""Quaternion (w, x, y, z) and translation (metres) from the RGB camera to the device (same source)."""
