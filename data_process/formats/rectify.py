"""Rectification to an ideal pinhole image: undistortion, quarter turns, crops and rescaling.

All operations on pixels are applied to the intrinsics too. Intrinsics are 3 x 3, pixels, the centre of the top left
pixel is (0, 0); sizes are (height, width).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Matrix = NDArray[np.float64]
Size = tuple[int, int]


@dataclass(frozen=True)
class Rectification:
    """Map from the pixels of a pinhole image to the image that the camera took."""

    intrinsics: Matrix
    """(3, 3) of the pinhole image, pixels."""
    map_x: NDArray[np.float32]
    """(H, W) x in the camera's image, pixels."""
    map_y: NDArray[np.float32]
    """(H, W) y in the camera's image, pixels."""
    seen: NDArray[np.bool_]
    """(H, W) bool, whether the pixel lies in the camera's image."""

    def image(self, image: NDArray) -> NDArray:
        """Resample an image (h, w, ...) to the pinhole image, bilinearly. Unseen pixels mirror the nearest part."""
        return cv2.remap(image, self.map_x, self.map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    def nearest(self, values: NDArray) -> NDArray:
        """Resample values (h, w) that must not be mixed (depth, labels) by nearest pixel; 0 where not seen."""
        x, y = np.moveaxis(self.nearest_pixel(), -1, 0)
        height, width = values.shape[:2]
        moved = values[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        return np.where(self.seen, moved, np.zeros((), values.dtype))

    def nearest_pixel(self) -> NDArray[np.intp]:
        """(H, W, 2) the pixel (x, y) of the camera's image that `nearest` takes; meaningless where not seen."""
        return np.rint(np.stack([self.map_x, self.map_y], axis=-1)).astype(np.intp)


def make_rectification(map_x: NDArray, map_y: NDArray, intrinsics: Matrix, source_size: Size) -> Rectification:
    """Make a rectification from maps (H, W); pixels whose centre falls outside the source image are unseen."""
    height, width = source_size
    with np.errstate(invalid="ignore"):
        seen = (map_x >= -0.5) & (map_x <= width - 0.5) & (map_y >= -0.5) & (map_y <= height - 0.5)
    far_away = np.float32(-1e4)  # OpenCV's remap does not define what it does with NaN
    x = np.nan_to_num(map_x.astype(np.float32), nan=far_away)
    y = np.nan_to_num(map_y.astype(np.float32), nan=far_away)
    return Rectification(np.asarray(intrinsics, np.float64), x, y, seen)


def pinhole_rays(intrinsics: Matrix, size: Size) -> NDArray[np.float64]:
    """(H, W, 3) viewing rays with z = 1 of the pixels of a pinhole image, in the camera's frame."""
    y, x = np.indices(size, np.float64)
    return np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(intrinsics).T


def turn_clockwise(image: NDArray) -> NDArray:
    """Rotate an image (H, W, ...) by 90 degrees clockwise, to (W, H, ...)."""
    return np.ascontiguousarray(np.rot90(image, k=-1))


def turn_camera_clockwise(intrinsics: Matrix, camera_to_world: Matrix, height: int) -> tuple[Matrix, Matrix]:
    """Intrinsics and pose of an image rotated by `turn_clockwise`, consistent with unchanged world points.

    A pixel (x, y) goes to (height - 1 - y, x); so the new x axis is the old -y, and the new y axis the old x.

    Args:
        intrinsics: (3, 3) without skew.
        camera_to_world: (4, 4).
        height: height of the image before the rotation, pixels.
    """
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    turned = np.array([[fy, 0, height - 1 - cy], [0, fx, cx], [0, 0, 1.0]])
    old_from_new = np.eye(4)
    old_from_new[:2, :2] = [[0, 1], [-1, 0]]
    return turned, camera_to_world @ old_from_new


def crop_intrinsics(intrinsics: Matrix, top: int, left: int) -> Matrix:
    """Intrinsics of an image without its first `top` rows and `left` columns."""
    cropped = intrinsics.copy()
    cropped[0, 2] -= left
    cropped[1, 2] -= top
    return cropped


def resize_intrinsics(intrinsics: Matrix, old: Size, new: Size) -> Matrix:
    """Intrinsics of an image resized from (height, width) `old` to `new`."""
    y, x = new[0] / old[0], new[1] / old[1]
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]]) @ intrinsics


def resize_image(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize an image (H, W, 3), antialiased: Lanczos when it shrinks, bicubic when it grows."""
    if image.shape[:2] == size:
        return image
    shrinks = max(image.shape[:2]) > max(size)
    method = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), method))


def resize_nearest(values: NDArray, size: Size) -> NDArray:
    """Resize values (H, W) that must not be mixed (depth, labels, masks): the pixel with the nearest centre."""
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
