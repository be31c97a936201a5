"""Preparation of a stream's pictures for the networks, undistorted where the camera is calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.data.sources.preprocess import intrinsics_to_network, preprocess
from common.geometry.calibration import Calibration
from common.geometry.undistortion import Undistorter
from common.refinement.pictures import working_picture
from common.refinement.types import Picture


@dataclass(frozen=True)
class PreparedFrame:
    """A network image, ready to be pushed."""

    image: Tensor
    """(3, H, W) float32 in [-1, 1]."""
    original_from_network: Tensor
    """(3, 3) float64, network pixels to pixels of the (undistorted) original."""
    original_size: tuple[int, int]
    """(height, width)."""
    intrinsics: Tensor | None
    """(3, 3) float64 in network pixels; None without a calibration."""
    picture: Picture | None = None
    """For the refinement of its segment; None where that is not wanted."""


Images: TypeAlias = Sequence[NDArray[np.uint8] | PreparedFrame] | NDArray[np.uint8] | Tensor
"""Pictures of a stream; see `FramePreparer.all`."""


class FramePreparer:
    """Undistorts, resizes and normalizes. Holds no state of a scene, so another thread may use it."""

    def __init__(
        self, size: tuple[int, int], calibration: Calibration | None = None, long_side: int | None = None
    ) -> None:
        """
        Args:
            size: (height, width) of the network images.
            calibration: of the camera; None where it is not known.
            long_side: of the gray pictures for refinement, pixels, at most; None for no such pictures.
        """
        self.size, self.calibration, self._long_side = size, calibration, long_side
        self._undistorter: Undistorter | None = None

    def __call__(self, image: NDArray[np.uint8]) -> PreparedFrame:
        """Prepare one picture (H, W, 3) uint8 RGB.

        Raises:
            ValueError: not such a picture, or one that the calibration is not for.
        """
        if self.calibration is None:
            plain = preprocess(image, self.size)
            picture = self._picture(image, plain.original_from_network)
            return PreparedFrame(plain.image, plain.original_from_network, plain.original_size, None, picture)
        if image.dtype != np.uint8 or image.ndim != 3:
            raise ValueError(f"expected an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
        undistorter = self._undistorter
        if undistorter is None or undistorter.camera.size != image.shape[:2]:
            scaled = self.calibration.scaled((image.shape[0], image.shape[1]))
            self._undistorter = undistorter = Undistorter(scaled)
        straight = undistorter(image)
        ready = preprocess(straight, self.size)
        intrinsics = intrinsics_to_network(undistorter.intrinsics, ready.original_from_network)
        picture = self._picture(straight, ready.original_from_network)
        return PreparedFrame(ready.image, ready.original_from_network, ready.original_size, intrinsics, picture)

    def _picture(self, image: NDArray[np.uint8], original_from_network: Tensor) -> Picture | None:
        if self._long_side is None:
            return None
        camera = (image.shape[0] << 16) + image.shape[1]  # pictures of one size share a camera
        return working_picture(image, original_from_network, camera, "", self._long_side)

    def all(self, images: Images) -> list[PreparedFrame]:
        """Prepare pictures, frames that are prepared already, or a float tensor of network images.

        Args:
            images: a sequence of (H, W, 3) uint8 pictures or of `PreparedFrame`; (F, H, W, 3) uint8; or (F, 3, H, W)
                float network images in [-1, 1], which are taken as they are (undistorted, their own originals).

        Raises:
            ValueError: for anything else.
        """
        if isinstance(images, Tensor) and images.is_floating_point():
            if images.ndim != 4 or tuple(images.shape[1:]) != (3, *self.size):
                raise ValueError(f"prepared tensors are (frames, 3, {self.size}), got {tuple(images.shape)}")
            return [PreparedFrame(image, torch.eye(3).double(), self.size, None) for image in images]
        items = images.numpy() if isinstance(images, Tensor) else images
        prepared = [item if isinstance(item, PreparedFrame) else self(np.asarray(item)) for item in items]
        for frame in prepared:
            if tuple(frame.image.shape) != (3, *self.size):
                raise ValueError(f"a network image is (3, {self.size}) here, got {tuple(frame.image.shape)}")
        return prepared
