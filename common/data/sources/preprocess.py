"""From an image of any size to what the networks take, and back: the only resize, crop and normalize of inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.data.sources.cropping import covering_size
from common.image_size import PATCH

_LARGEST_COVER = 16
"""A resized image of more than so many times the area that is kept is never made as a whole."""


@dataclass
class Preprocessed:
    """A network image and the way back to the image that it was made from."""

    image: Tensor
    """(3, H, W) float32 RGB in [-1, 1]."""
    original_from_network: Tensor
    """(3, 3) float64: homogeneous (x, y, 1) pixel coordinates of the network image to those of the original; pixel
    centres are at integers in both."""
    original_size: tuple[int, int]
    """(height, width) of the original image, in pixels."""


def preprocess(image: np.ndarray, size: tuple[int, int] = (224, 224)) -> Preprocessed:
    """Resize an image so that it just covers `size`, crop the centre, and normalize.

    Shrinking uses Pillow's Lanczos filter, enlarging its bicubic one (which are antialiased). For a square `size` this
    is the published loading: short side to 224, long side to round(224 * aspect), centre crop.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: (height, width) of the network image, multiples of 16.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, or `size` is not made of multiples of 16.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"expected an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
    height, width = size
    if height < PATCH or width < PATCH or height % PATCH or width % PATCH:
        raise ValueError(f"the network image size must be made of multiples of {PATCH}, got {height} x {width}")
    original = image.shape[0], image.shape[1]
    covering = covering_size(original, size)
    top, left = covering[0] // 2 - height // 2, covering[1] // 2 - width // 2
    cropped = _resize_and_crop(image, covering, (top, left), size)
    return Preprocessed(normalize(cropped), _original_from_network(original, covering, (top, left)), original)


def _resize_and_crop(
    image: np.ndarray, covering: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """The part of the resized image that is kept.

    The resized image of an ordinary picture is made and cropped, as published. That of a very long one may be larger
    than the memory (1 x 20,000 pixels: 224 x 4,480,000), so there only the part is made.
    """
    original, (top, left), (height, width) = image.shape[:2], corner, size
    if covering == original:
        return image[top : top + height, left : left + width]
    resampling = Image.Resampling.LANCZOS if max(original) > max(covering) else Image.Resampling.BICUBIC
    source = Image.fromarray(image)
    if covering[0] * covering[1] <= _LARGEST_COVER * height * width:
        resized = np.asarray(source.resize((covering[1], covering[0]), resampling))
        return resized[top : top + height, left : left + width]
    down, across = original[0] / covering[0], original[1] / covering[1]
    part = (left * across, top * down, (left + width) * across, (top + height) * down)
    return np.asarray(source.resize((width, height), resampling, box=part))


def normalize(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [-1, 1]: (x / 255 - 0.5) / 0.5."""
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    return tensor.div_(255).sub_(0.5).div_(0.5)


def denormalize(images: Tensor) -> Tensor:
    """(..., 3, H, W) float in [-1, 1] to (..., H, W, 3) uint8, rounded; the inverse of `normalize`."""
    return (images.movedim(-3, -1).float() * 127.5 + 127.5).round_().clamp_(0, 255).to(torch.uint8)


def intrinsics_to_original(intrinsics: Tensor, original_from_network: Tensor) -> Tensor:
    """Intrinsics of the network image as intrinsics of the original image.

    Args:
        intrinsics: (..., 3, 3) in pixels, pixel centres at integers.
        original_from_network: (..., 3, 3) of `Preprocessed`; leading axes broadcast.

    Returns:
        (..., 3, 3) in the dtype and on the device of `intrinsics`.
    """
    affine = original_from_network.to(intrinsics.device)
    return (affine @ intrinsics.to(affine.dtype)).to(intrinsics.dtype)


def intrinsics_to_network(intrinsics: Tensor, original_from_network: Tensor) -> Tensor:
    """Intrinsics of the original image as intrinsics of the network image; the inverse of `intrinsics_to_original`."""
    return intrinsics_to_original(intrinsics, torch.linalg.inv(original_from_network))


def _original_from_network(original: tuple[int, int], resized: tuple[int, int], corner: tuple[int, int]) -> Tensor:
    """Undo the crop, then the resize. Pixel u of an image enlarged s times lies at (u + 0.5) / s - 0.5 in the image."""
    affine = torch.eye(3, dtype=torch.float64)
    for axis, side in ((0, 1), (1, 0)):  # x goes with widths, y with heights
        ratio = original[side] / resized[side]
        affine[axis, axis] = ratio
        affine[axis, 2] = (corner[side] + 0.5) * ratio - 0.5
    return affine
