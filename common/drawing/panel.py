"""Panels of images: one column per view, one named row per kind of map, or named columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

_MARGIN, _CAPTION = 4, 18
_GAP, _COLUMN_CAPTION = 6, 22
_BACKGROUND, _INK = 255, (40, 40, 40)
_FONT, _CAPTION_SCALES = cv2.FONT_HERSHEY_SIMPLEX, (0.42, 0.38, 0.34)


def draw_panel(rows: Mapping[str, Sequence[NDArray[np.uint8]]], least_width: int = 0) -> NDArray[np.uint8]:
    """One picture of rows of equally many or fewer tiles.

    Args:
        rows: tiles (H, W, 3) uint8 RGB by the row's name, from top to bottom; a row's tiles share their height.
        least_width: minimum width of the panel, pixels.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    strips = [_strip(name, tiles) for name, tiles in rows.items()]
    width = max(least_width, *(strip.shape[1] for strip in strips))
    canvas = np.full((sum(len(strip) for strip in strips), width, 3), _BACKGROUND, np.uint8)
    top = 0
    for strip in strips:
        canvas[top : top + len(strip), : strip.shape[1]] = strip
        top += len(strip)
    return canvas


def draw_columns(columns: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]]) -> NDArray[np.uint8]:
    """One picture of columns of equally many tiles.

    Args:
        columns: caption and tiles, from top to bottom, of each column; at least one. All tiles (H, W, 3) uint8 RGB
            have the same size. A caption that is too long is set smaller, then shortened in its middle.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    tile_height, tile_width = columns[0][1][0].shape[:2]
    rows = len(columns[0][1])
    size = (_COLUMN_CAPTION + rows * (tile_height + _GAP) + _GAP, len(columns) * (tile_width + _GAP) + _GAP, 3)
    canvas = np.full(size, _BACKGROUND, np.uint8)
    for number, (caption, tiles) in enumerate(columns):
        left = _GAP + number * (tile_width + _GAP)
        place = (left, _COLUMN_CAPTION - 6)
        text, scale = fit_caption(caption, tile_width)
        cv2.putText(canvas, text, place, _FONT, scale, _INK, 1, cv2.LINE_AA)
        for row, tile in enumerate(tiles):
            top = _COLUMN_CAPTION + row * (tile_height + _GAP)
            canvas[top : top + tile_height, left : left + tile_width] = tile
    return canvas


def fit_caption(caption: str, width: int) -> tuple[str, float]:
    """A caption that is at most so many pixels wide, with its scale; signs that the font lacks become "?"."""
    text = caption.encode("ascii", "replace").decode()
    for scale in _CAPTION_SCALES:
        if _width(text, scale) <= width:
            return text, scale
    kept = len(text)
    while kept > 2:
        kept -= 1
        short = f"{text[: kept // 3]}..{text[len(text) - (kept - kept // 3) :]}"  # the end tells files apart
        if _width(short, scale) <= width:
            return short, scale
    return "", scale


def _width(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, _FONT, scale, 1)[0][0])


def _strip(name: str, tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """A named row."""
    height = max(len(tile) for tile in tiles)
    width = sum(tile.shape[1] + _MARGIN for tile in tiles)
    strip = np.full((_CAPTION + height + _MARGIN, width, 3), _BACKGROUND, np.uint8)
    cv2.putText(strip, name, (2, _CAPTION - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
    left = 0
    for tile in tiles:
        strip[_CAPTION : _CAPTION + len(tile), left : left + tile.shape[1]] = tile
        left += tile.shape[1] + _MARGIN
    return strip
