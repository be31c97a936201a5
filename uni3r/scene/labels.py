"""Segmentations, overlays and legends as pictures: uint8 RGB arrays, ready to be written or shown."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

UNLABELLED_COLOR = (0, 0, 0)
_TEXT, _PAPER = (30, 30, 30), (255, 255, 255)


def color_labels(labels: ArrayLike, colors: ArrayLike) -> NDArray[np.uint8]:
    """Classes in their colours.

    Args:
        labels: (...) integer classes; what is not 0 to K - 1, such as 255, is black.
        colors: (K, 3) uint8 RGB.

    Returns:
        (..., 3) uint8 RGB.
    """
    numbers, palette = np.asarray(labels), np.asarray(colors, np.uint8)
    known = (numbers >= 0) & (numbers < len(palette))
    table = np.concatenate([palette, np.array([UNLABELLED_COLOR], np.uint8)])
    return table[np.where(known, numbers, len(palette))]


def overlay(image: ArrayLike, colors: ArrayLike, strength: float | ArrayLike = 0.55) -> NDArray[np.uint8]:
    """Colours over an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        colors: (H, W, 3) uint8 RGB.
        strength: opacity of the colours in [0, 1]: one number, or (H, W), such as a relevance.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    share = np.asarray(strength, np.float32)
    share = share[..., None] if share.ndim == 2 else share
    mixed = (1 - share) * np.asarray(image, np.float32) + share * np.asarray(colors, np.float32)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def draw_legend(names: Sequence[str], colors: ArrayLike, row_height: int = 24) -> NDArray[np.uint8]:
    """A column of colour swatches with names.

    Args:
        names: K names; what the drawing font lacks (it knows ASCII only) shows as "?".
        colors: (K, 3) uint8 RGB.
        row_height: pixels.

    Returns:
        (K * row_height, width, 3) uint8 RGB, as wide as the longest name needs.
    """
    palette = np.asarray(colors, np.uint8)
    if len(names) != len(palette):
        raise ValueError(f"a legend of {len(names)} names needs as many colours, got {len(palette)}")
    texts = [name.encode("ascii", "replace").decode() for name in names]
    font, scale, margin = cv2.FONT_HERSHEY_SIMPLEX, row_height / 44, row_height // 5
    widths = [cv2.getTextSize(text, font, scale, 1)[0][0] for text in texts]
    picture = np.full((len(texts) * row_height, row_height + max(widths, default=0) + 2 * margin, 3), _PAPER, np.uint8)
    for row, (text, color) in enumerate(zip(texts, palette, strict=True)):
        top = row * row_height
        picture[top + margin : top + row_height - margin, margin : row_height - margin] = color
        baseline = (row_height, top + round(0.68 * row_height))
        cv2.putText(picture, text, baseline, font, scale, _TEXT, 1, cv2.LINE_AA)
    return picture


def beside(image: ArrayLike, legend: ArrayLike) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with a legend (h, w, 3) on its right, both at the top, on white."""
    parts = [np.asarray(part, np.uint8) for part in (image, legend)]
    height = max(len(part) for part in parts)
    padded = [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0)), constant_values=255) for p in parts]
    return np.concatenate(padded, axis=1)
