"""Training views: a random crop in which depth and intrinsics follow, colour jitter, and removal of backgrounds.

All random numbers come from a NumPy generator that the caller owns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as colour

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.5, 0.5, 0.5, 0.1
"""Published ranges of the jitter: factors in 1 ± range; the hue turns by up to a tenth of the circle."""


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


def training_crop(
    image: np.ndarray,
    depth: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    generator: np.random.Generator,
    zoom_range: int = 0,
    labels: np.ndarray | None = None,
) -> CroppedView:
    """Crop a view symmetrically about its principal point, rescale it, and cut out the centre.

    The view is rescaled so that it covers `size` + u, u an integer drawn below `zoom_range` (the same for both sides),
    so the final crop of `size` is a random zoom. The image is resampled with Lanczos, depth and labels by nearest
    neighbour. One number is drawn if `zoom_range` > 1, else none.

    Args:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W).
        intrinsics: (3, 3), pixels, pixel centres at integers.
        size: (height, width) of the result.
        generator: source of u.
        zoom_range: `aug_crop` of the published configurations (256 ScanNet++, 128 Aria, 16 CO3D); 0 for no zoom.
        labels: (H, W), optional.

    Raises:
        ValueError: the shapes disagree, or the principal point is outside of the image.
    """
    shape = image.shape[:2]
    if depth.shape != shape or (labels is not None and labels.shape != shape):
        raise ValueError(f"image {shape}, depth {depth.shape} and labels must have the same height and width")
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
    # the part of a pixel that `int` cut off is lost on both sides alike
    lost = [before[axis] * scale - after[axis] for axis in (1, 0)]
    matrix[:2, 2] = (matrix[:2, 2] + 0.5) * scale - 0.5 - 0.5 * np.array(lost)
    matrix[[0, 1], [0, 1]] *= scale
    matrix[0, 1] *= scale

    top, left = (round((after[axis] - size[axis]) / 2) for axis in (0, 1))
    matrix[:2, 2] -= left, top
    centre = (slice(top, top + size[0]), slice(left, left + size[1]))
    picture = Image.fromarray(image[about]).resize((after[1], after[0]), Image.Resampling.LANCZOS)
    return CroppedView(
        np.asarray(picture)[centre],
        resize_nearest(depth[about], after)[centre],
        matrix.astype(np.float32),
        None if labels is None else resize_nearest(labels[about], after)[centre],
    )


def resize_nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, ...) to `size` = (height, width) by nearest neighbour, pixel i from floor(i * old / new) as in OpenCV."""
    rows, columns = (
        np.minimum((np.arange(new) * (old / new)).astype(np.int64), old - 1) for new, old in zip(size, values.shape)
    )
    return values[rows[:, None], columns]


def colour_jitter(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation, hue by random amounts in random order. (H, W, 3) uint8 to the same."""
    amounts = [float(generator.uniform(1 - reach, 1 + reach)) for reach in (BRIGHTNESS, CONTRAST, SATURATION)]
    amounts.append(float(generator.uniform(-HUE, HUE)))
    changes = (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation, colour.adjust_hue)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for which in generator.permutation(len(changes)):
        tensor = changes[which](tensor, amounts[which])
    return tensor.permute(1, 2, 0).contiguous().numpy()


def remove_background(
    depth: np.ndarray, foreground: np.ndarray, generator: np.random.Generator, probability: float = 0.5
) -> np.ndarray:
    """Depth with the background invalid (0) with the given probability, else unchanged. The image is not touched.

    One number is drawn. To treat all views of a window alike, draw once and call this with probability 0 or 1.

    Args:
        depth: (H, W).
        foreground: (H, W) bool, true on the object.
    """
    if generator.random() >= probability:
        return depth
    return np.where(foreground, depth, np.zeros((), depth.dtype))
