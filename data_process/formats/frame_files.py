"""Readers of the files of a frame, which raise `BadFrameError` with a short reason."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_process.errors import BadFrameError

_JPEG = (".jpg", ".jpeg")


def read_bytes(path: Path, what: str) -> bytes:
    """Read a file; `what` names it in errors."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadFrameError(f"no {what}") from None


def read_color(path: Path) -> NDArray[np.uint8] | bytes:
    """Read a colour image for `SceneWriter.add`: the bytes of a JPEG file, else (H, W, 3) uint8 RGB pixels."""
    content = read_bytes(path, "color image")
    return content if path.suffix.lower() in _JPEG else decode_color(content)


def decode_color(content: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of an encoded image, without EXIF rotation."""
    return np.asarray(_decode(content, "color image").convert("RGB"))


def read_plane(path: Path, what: str) -> NDArray:
    """(H, W) integers of a grey PNG file of 8 or 16 bits; `what` names it in errors."""
    return decode_plane(read_bytes(path, what), what)


def decode_plane(content: bytes, what: str) -> NDArray:
    """(H, W) integers of an encoded grey image of 8 or 16 bits; `what` names it in errors."""
    plane = np.asarray(_decode(content, what))
    if plane.ndim != 2 or plane.dtype.kind not in "ui":
        raise BadFrameError(f"{what} is not grey")
    return plane


def read_matrix(path: Path, shape: tuple[int, int], what: str) -> NDArray[np.float64]:
    """Read a matrix from a text file in row order, nan and inf allowed. `what` names it in errors."""
    try:
        values = np.array(read_bytes(path, what).split(), dtype=np.float64)
    except ValueError:
        raise BadFrameError(f"{what} does not hold numbers") from None
    if values.size != shape[0] * shape[1]:
        raise BadFrameError(f"{what} does not hold a {shape[0]} x {shape[1]} matrix")
    return values.reshape(shape)


def metres(plane: NDArray, depth_scale: float, invalid: int | None = None) -> NDArray[np.float32]:
    """(H, W) float32 metres of stored depth; 0 where it is 0 or `invalid`."""
    depth = plane.astype(np.float32) / np.float32(depth_scale)
    if invalid is not None:
        depth[plane == invalid] = 0
    return depth


def _decode(content: bytes, what: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()  # Pillow, unlike OpenCV, rejects truncated images
        return image
    except Exception as error:  # Pillow raises many kinds of exceptions on damaged files
        raise BadFrameError(f"damaged {what}") from error
