"""A calibrated camera, and its pictures without the lens's distortion."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Camera(Protocol):
    """Camera parameters: `common.geometry.calibration.Calibration` or `common.geometry.lens.Lens`."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        ...

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) intrinsics without the distortion."""
        ...

    @property
    def is_straight(self) -> bool:
        """Whether there is no distortion."""
        ...

    def project(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) of directions (N, 2)."""
        ...

    def unproject(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Directions (N, 2) of pixels (N, 2); NaN where there are none."""
        ...


class Undistorter:
    """Pictures of one size as an ideal camera would have taken them: square pixels, principal point in the middle.

    The new focal length is the smallest that leaves no empty pixel at the border, so a little of the view is lost.
    The networks assume such a camera: they were trained on crops that are symmetric about the principal point.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera

    @cached_property
    def intrinsics(self) -> Tensor:
        """(3, 3) float64 of the undistorted pictures.

        Raises:
            ValueError: the distortion cannot be undone, or folds the picture over.
        """
        height, width = self.camera.size
        outline = self._outline()
        if not np.isfinite(outline).all():
            raise ValueError(f"the distortion of {self.camera} cannot be undone at the picture's border")
        x, y = outline[:, 0], outline[:, 1]
        # The outline of the picture, undistorted, at depth 1: the new view must stay inside on all four sides.
        quarter = len(outline) // 4
        top, right, bottom, left = (slice(i * quarter, (i + 1) * quarter) for i in range(4))
        half_width = min(-x[left].max(), x[right].min())
        half_height = min(-y[top].max(), y[bottom].min())
        if not (half_width > 0 and half_height > 0):
            raise ValueError(f"the distortion of {self.camera} folds the picture over; is the calibration right?")
        focal = max((width - 1) / 2 / half_width, (height - 1) / 2 / half_height)
        return torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], dtype=torch.float64)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 of the calibrated size to the same size, undistorted (bilinear)."""
        if image.shape[:2] != tuple(self.camera.size):
            raise ValueError(f"expected a picture of {list(self.camera.size)}, got {list(image.shape[:2])}")
        if self._is_ideal:
            return image
        places, fractions = self._maps
        straight = cv2.remap(image, places, fractions, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(straight, np.uint8)

    def nearest(self, values: NDArray) -> NDArray:
        """Values of the distorted pixels, (h, w) of any size that covers the same view, in the straight picture.

        Each new pixel takes the nearest value: for masks and depths, which must not be mixed.
        """
        (height, width), (rows, columns) = self.camera.size, values.shape
        y, x = np.mgrid[:rows, :columns]
        pixels = (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) * [width / columns, height / rows] - 0.5
        matrix = self.intrinsics.numpy()
        source = self.camera.project((pixels - matrix[:2, 2]) / matrix[0, 0])
        column, row = np.rint((source + 0.5) * [columns / width, rows / height] - 0.5).astype(np.int64).T
        return values[row.clip(0, rows - 1), column.clip(0, columns - 1)].reshape(rows, columns)

    @property
    def _is_ideal(self) -> bool:
        return self.camera.is_straight and bool(np.allclose(self.intrinsics.numpy(), self.camera.matrix))

    @cached_property
    def _maps(self) -> tuple[NDArray, NDArray]:
        """OpenCV's fixed-point maps: where each new pixel lies in the picture as it was taken."""
        (height, width), focal = self.camera.size, self.intrinsics[0, 0].item()
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([x.ravel(), y.ravel()], axis=1)
        source = self.camera.project((pixels - [(width - 1) / 2, (height - 1) / 2]) / focal)
        columns, rows = source.astype(np.float32).T.reshape(2, height, width)
        return cv2.convertMaps(columns, rows, cv2.CV_16SC2)

    def _outline(self, steps: int = 64) -> NDArray[np.float64]:
        """(4 * steps, 2) undistorted directions x/z, y/z of the picture's outline: top, right, bottom, left."""
        height, width = self.camera.size
        across, down = np.linspace(0, width - 1, steps), np.linspace(0, height - 1, steps)
        sides = [
            np.stack([across, np.zeros(steps)], axis=1),
            np.stack([np.full(steps, width - 1), down], axis=1),
            np.stack([across, np.full(steps, height - 1)], axis=1),
            np.stack([np.zeros(steps), down], axis=1),
        ]
        return self.camera.unproject(np.concatenate(sides))
