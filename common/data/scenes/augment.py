"""Training views: crops in which depth and intrinsics follow, and colour jitter.

All random numbers come from a NumPy generator that the caller owns. Everything works on 8-bit images as decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GREY_WEIGHTS = np.array([[0.299, 0.587, 0.114]])


@dataclass
class CroppedView:
    """A training view at network size."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    depth: np.ndarray
    """(H, W), the type and unit of the input."""
    intrinsics: np.ndarray
    """(3, 3) float32, pixels, pixel centres at integers."""
    labels: np.ndarray | None = None
    """(H, W), the type of the input."""
    mask: np.ndarray | None = None
    """(H, W), the type of the input."""


def training_crop(
    image: np.ndarray,
    depth: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    generator: np.random.Generator,
    zoom_range: int = 0,
    labels: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    enlarging: Literal["lanczos", "bicubic"] = "lanczos",
) -> CroppedView:
    """Crop a view symmetrically about its principal point, rescale it, and cut out the centre.

    The view is rescaled so that it covers `size` + u, u an integer drawn below `zoom_range` (the same for both sides),
    so the final crop of `size` is a random zoom. The image is resampled with Lanczos, depth, labels and mask by nearest
    neighbour. One number is drawn if `zoom_range` > 1, else none.

    Args:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W).
        intrinsics: (3, 3), pixels, pixel centres at integers.
        size: (height, width) of the result.
        generator: source of u.
        zoom_range: `aug_crop` of the published configurations (256 ScanNet++, 128 Aria, 16 CO3D); 0 for no zoom.
        labels: (H, W), optional.
        mask: (H, W), optional.
        enlarging: filter of the image where it grows (SLAM3R Lanczos, Uni3R bicubic).

    Raises:
        ValueError: the shapes disagree, or the principal point is outside of the image.
    """
    shape = image.shape[:2]
    if any(other is not None and other.shape != shape for other in (depth, labels, mask)):
        raise ValueError(f"image {shape}, depth {depth.shape}, labels and mask must have the same height and width")
    matrix = np.array(intrinsics, dtype=np.float64)
    column, row = (int(value) for value in np.round(matrix[:2, 2]))
    half_width, half_height = min(column, shape[1] - column), min(row, shape[0] - row)
    if half_width < 1 or half_height < 1:
        raise ValueError(f"principal point ({column}, {row}) outside of an image of {shape[1]} x {shape[0]}")
    about = (slice(row - half_height, row + half_height), slice(column - half_width, column + half_width))
    matrix[:2, 2] -= column - half_width, row - half_height

    growth = int(generator.integers(0, zoom_range)) if zoom_range > 1 else 0
    before = (2 * half_height, 2 * half_width)
    scale = max((size[axis] + growth) / before[axis] for axis in (0, 1)) + 1e-8
    after = (int(before[0] * scale), int(before[1] * scale))
    # the fraction of a pixel that `int` cut off is lost equally on both sides
    lost = [before[axis] * scale - after[axis] for axis in (1, 0)]
    matrix[:2, 2] = (matrix[:2, 2] + 0.5) * scale - 0.5 - 0.5 * np.array(lost)
    matrix[[0, 1], [0, 1]] *= scale
    matrix[0, 1] *= scale

    corner = round((after[0] - size[0]) / 2), round((after[1] - size[1]) / 2)
    matrix[:2, 2] -= corner[1], corner[0]
    smooth = Image.Resampling.BICUBIC if scale > 1 and enlarging == "bicubic" else Image.Resampling.LANCZOS

    def nearest(values: np.ndarray) -> np.ndarray:
        return resize_nearest(values[about], after, corner, size)

    return CroppedView(
        resize_window(image[about], after, corner, size, smooth),
        nearest(depth),
        matrix.astype(np.float32),
        None if labels is None else nearest(labels),
        None if mask is None else nearest(mask),
    )


def middle_crop(
    image: np.ndarray,
    depth: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    labels: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> CroppedView:
    """Crop a view about its middle to the shape of `size` = (height, width) and scale it: area means, nearest depth.

    Cheaper than `training_crop` by far, for images that are about as large as wanted. Shapes and types as there.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return CroppedView(image, depth, np.asarray(intrinsics, np.float32), labels, mask)
    scale = max(size[0] / height, size[1] / width)
    crop = min(height, round(size[0] / scale)), min(width, round(size[1] / scale))
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    window = slice(top, top + crop[0]), slice(left, left + crop[1])
    x, y = size[1] / crop[1], size[0] / crop[0]
    change = np.array([[x, 0, x * (0.5 - left) - 0.5], [0, y, y * (0.5 - top) - 0.5], [0, 0, 1]])

    def scaled(values: np.ndarray, method: int) -> np.ndarray:
        return cv2.resize(values[window], size[::-1], interpolation=method)

    nearest = cv2.INTER_NEAREST_EXACT
    return CroppedView(
        scaled(image, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR),
        scaled(depth, nearest),
        (change @ intrinsics).astype(np.float32),
        None if labels is None else scaled(labels, nearest),
        None if mask is None else scaled(mask, nearest),
    )


def resize_window(
    image: np.ndarray,
    after: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    resampling: Image.Resampling = Image.Resampling.LANCZOS,
) -> NDArray[np.uint8]:
    """Crop of a resized image: `resize(after)[corner : corner + size]`.

    The whole image is resized: Pillow's `box` would produce the crop alone in a third of the time, but differs by a
    grey level in places, and the published crops are reproduced exactly.

    Args:
        image: (H, W, 3) uint8.
        after: (height, width) of the whole when resized.
        corner: (top, left) of the part in the resized image.
        size: (height, width) of the part.
        resampling: filter of Pillow, antialiased when shrinking. It sees the image beyond the part's edges.
    """
    whole = Image.fromarray(image).resize(after[::-1], resampling)
    (top, left), (height, width) = corner, size
    return np.asarray(whole)[top : top + height, left : left + width]


def resize_nearest(
    values: np.ndarray,
    after: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Resize by nearest neighbour, or make a part of the result; pixel i comes from floor(i * old / new) as in OpenCV.

    Args:
        values: (H, W, ...) of any type; values are never mixed.
        after: (height, width) of the whole when resized.
        corner: (top, left) of the part.
        size: (height, width) of the part; None for the whole.
    """
    rows, columns = (
        np.minimum((np.arange(begin, begin + length) * (old / new)).astype(np.int64), old - 1)
        for old, new, begin, length in zip(values.shape, after, corner, size or after)
    )
    return values[rows[:, None], columns]


@dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, in random order, each result cut off at black and white.

    The published training (SLAM3R, following DUSt3R) uses (0.5, 0.5, 0.5, 0.1) for each view by itself.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    """Factors are drawn from 1 ± these; 0 leaves the images as they are."""
    hue: float = 0.0
    """Largest turn of the hue, as a part of the circle."""
    per_view: bool = False
    """Draw the changes for each view instead of once for the window."""

    def __call__(self, images: list[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
        """Change the images of a window, each (H, W, 3) uint8 RGB."""
        draws = [self._draw(generator) for _ in range(len(images) if self.per_view else 1)]
        return [_jittered(image, *draws[index % len(draws)]) for index, image in enumerate(images)]

    def _draw(self, generator: np.random.Generator) -> tuple[list[float], list[int]]:
        """Strength of the four changes, and their order."""
        reaches = (self.brightness, self.contrast, self.saturation)
        amounts = [float(generator.uniform(1 - reach, 1 + reach)) for reach in reaches]
        amounts.append(float(generator.uniform(-self.hue, self.hue)))
        return amounts, generator.permutation(len(amounts)).tolist()


def _jittered(image: np.ndarray, amounts: list[float], order: list[int]) -> np.ndarray:
    changes = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    neutral = (1.0, 1.0, 1.0, 0.0)
    for which in order:
        if amounts[which] != neutral[which]:
            image = changes[which](image, amounts[which])
    return image


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix (H, W, 3) uint8 with black: 0 is black, 1 the image."""
    return _tabulated(image, np.arange(256) * factor)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix (H, W, 3) uint8 with its mean grey: 0 is that grey, 1 the image."""
    grey = float(_GREY_WEIGHTS[0] @ cv2.mean(image)[:3])
    return _tabulated(image, factor * np.arange(256) + (1 - factor) * grey)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Mix (H, W, 3) uint8 with its own grey: 0 is a grey image, 1 the image."""
    return cv2.transform(image, factor * np.eye(3) + (1 - factor) * np.repeat(_GREY_WEIGHTS, 3, axis=0))


def adjust_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue of (H, W, 3) uint8 by a part of the circle."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    turned = (np.arange(256) + round(turn * 256)).astype(np.uint8)  # hues wrap around
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(colours, 0), turned), colours, 0)
    return cv2.cvtColor(colours, cv2.COLOR_HSV2RGB_FULL)


def _tabulated(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8))
