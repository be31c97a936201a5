"""Cameras with their lenses, in every model that COLMAP knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.geometry.colmap_backend import pycolmap_module

_STRAIGHT = ("SIMPLE_PINHOLE", "PINHOLE")
_LARGEST = 1 << 17
"""Pixels along a side."""
_NO_PINHOLE = ("EQUIRECTANGULAR",)
"""Models that see all around: no plane can show their picture."""


@dataclass(frozen=True)
class Lens:
    """A camera model of COLMAP (documentation, "Camera Models"); the mathematics is that of pycolmap.

    Raises:
        ValueError: an unknown model, one that no picture of a perspective has, or a wrong number of parameters.
    """

    model: str
    """COLMAP's name, such as OPENCV."""
    size: tuple[int, int]
    """(height, width) of the pictures, pixels."""
    parameters: tuple[float, ...]
    """In COLMAP's order for the model, and its pixels: the centre of the top left one is (0.5, 0.5)."""

    def __post_init__(self) -> None:
        expected = parameter_names(self.model)
        if len(self.parameters) != len(expected):
            found = len(self.parameters)
            raise ValueError(
                f"camera model {self.model} has the parameters {', '.join(expected)}, found {found} numbers"
            )
        if self.model in _NO_PINHOLE:
            raise ValueError(
                f"camera model {self.model} sees all around; only pictures of a perspective are understood"
            )

    def fault(self) -> str | None:
        """Fault of the values, as a sentence without a subject; None if a camera can have them."""
        (height, width), (fx, fy, cx, cy) = self.size, self._pinhole
        if not (0 < height < _LARGEST and 0 < width < _LARGEST):
            return f"its pictures are said to have {width} x {height} pixels"
        if not all(map(math.isfinite, self.parameters)):
            return "its camera parameters are not finite"
        if not min(fx, fy) > 0:
            return f"its focal length is not positive ({fx:g}, {fy:g})"
        if not (0 < cx < width and 0 < cy < height):
            return f"its principal point ({cx:g}, {cy:g}) lies outside of the {width} x {height} picture"
        return None

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) intrinsics without the distortion; the centre of the top left pixel is (0, 0)."""
        fx, fy, cx, cy = self._pinhole
        return np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])

    @cached_property
    def is_straight(self) -> bool:
        """Whether the lens images straight lines as straight lines, to a thousandth of a pixel."""
        if self.model in _STRAIGHT:
            return True
        height, width = self.size
        x, y = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
        pixels = np.stack([x.ravel(), y.ravel()], axis=1)
        fx, fy, cx, cy = self._pinhole
        directions = (pixels + 0.5 - [cx, cy]) / [fx, fy]
        return bool(np.allclose(self.project(directions), pixels, rtol=0, atol=1e-3))

    def project(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2), centres at integers, of directions (N, 2) as x / z, y / z in the camera; NaN where none."""
        points = np.column_stack([directions, np.ones(len(directions))])
        return np.asarray(self._camera.img_from_cam(points), np.float64) - 0.5

    def unproject(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Directions (N, 2) as x / z, y / z of pixels (N, 2); NaN where they look sideways or back."""
        return np.asarray(self._camera.cam_from_img(np.asarray(pixels, np.float64) + 0.5), np.float64)

    def scaled(self, size: tuple[int, int]) -> Lens:
        """The camera of pictures that were resized to (height, width).

        Raises:
            ValueError: the shape is another one, so the pictures were cropped, turned or are another camera's.
        """
        if tuple(size) == tuple(self.size):
            return self
        down, across = size[0] / self.size[0], size[1] / self.size[1]
        if abs(down / across - 1) > 0.01:
            raise ValueError(
                f"its camera is that of {self.size[1]} x {self.size[0]} pictures, this one has {size[1]} x {size[0]}"
            )
        camera = self._new_camera()
        camera.rescale(size[1], size[0])
        return Lens(self.model, (size[0], size[1]), tuple(map(float, camera.params)))

    @property
    def _pinhole(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy in COLMAP's pixels."""
        values = dict(zip(parameter_names(self.model), self.parameters, strict=True))
        focal = values.get("f", 0.0)
        return values.get("fx", focal), values.get("fy", focal), values["cx"], values["cy"]

    @cached_property
    def _camera(self) -> Any:
        return self._new_camera()

    def _new_camera(self) -> Any:
        height, width = self.size
        return pycolmap_module().Camera(model=self.model, width=width, height=height, params=list(self.parameters))


def model_name(number: int) -> str:
    """Name of COLMAP's camera model of a number in its binary files.

    Raises:
        ValueError: this version of pycolmap knows no such model.
    """
    for name, model in pycolmap_module().CameraModelId.__members__.items():
        if int(model) == number and name != "INVALID":
            return name
    raise ValueError(f"camera model number {number} is not known here")


def parameter_names(model: str) -> list[str]:
    """Names of the parameters of a camera model, in order, such as f, cx, cy, k.

    Raises:
        ValueError: there is no such model, or this version of pycolmap does not know it.
    """
    known = pycolmap_module().CameraModelId.__members__
    if model not in known or model == "INVALID":
        raise ValueError(f"camera model {model} is not one of {', '.join(name for name in known if name != 'INVALID')}")
    camera = pycolmap_module().Camera()
    camera.model = known[model]
    return [name.strip() for name in camera.params_info.split(",")]
