"""Miniature raw data: images, depths and poses small enough to write in every data set's true format."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_process.writing.scene_writer import SceneWriter

SIZE = (24, 32)
"""(height, width) of depth images."""


def color(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: smooth, so that JPEG hardly changes it, with channels that differ and tell the frame."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    return (np.stack([200 * rows, 200 * columns, np.full(size, (10 * number) % 200)], axis=-1) + 20).astype(np.uint8)


def depth_units(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint16]:
    """(H, W) stored depth that tells pixel and frame; the top left pixel is invalid."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    units = (1000 + 100 * number + rows + 2 * columns).astype(np.uint16)
    units[0, 0] = 0
    return units


def pose(number: int) -> NDArray[np.float64]:
    """(4, 4) camera to world: a turn about y and a step along x."""
    angle = 0.1 * number
    matrix = np.eye(4)
    matrix[[0, 2], [0, 2]] = np.cos(angle)
    matrix[0, 2], matrix[2, 0] = np.sin(angle), -np.sin(angle)
    matrix[:3, 3] = 0.5 * number, 1.0, -2.0
    return matrix


INTRINSICS = np.array([[30.0, 0, 15.5], [0, 31.0, 11.5], [0, 0, 1]])


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """A JPEG file of an RGB image."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def png(image: NDArray) -> bytes:
    """A PNG file of a grey image of 8 or 16 bits, or of an RGB image."""
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def write(path: Path, content: bytes | str | NDArray) -> None:
    """A file with its folders; a matrix is written as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        np.savetxt(path, content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def sens_bytes(
    poses: Sequence[NDArray], color_size: tuple[int, int] = (48, 64), sensor: str = "StructureSensor"
) -> bytes:
    """A .sens file of version 4, written field by field from the published description."""
    intrinsics_depth = np.eye(4)
    intrinsics_depth[:3, :3] = INTRINSICS
    calibration = [np.diag([60.0, 62.0, 1.0, 1.0]), np.eye(4), intrinsics_depth, np.eye(4)]
    parts = [struct.pack("<I", 4), struct.pack("<Q", len(sensor)), sensor.encode()]
    parts += [struct.pack("<16f", *matrix.ravel()) for matrix in calibration]
    parts += [struct.pack("<ii", 2, 1), struct.pack("<IIII", *color_size[::-1], *SIZE[::-1])]
    parts += [struct.pack("<f", 1000.0), struct.pack("<Q", len(poses))]
    for number, camera_to_world in enumerate(poses):
        image, depth = jpeg(color(number, color_size)), zlib.compress(depth_units(number).tobytes())
        parts += [struct.pack("<16f", *camera_to_world.ravel())]
        parts += [struct.pack("<QQQQ", 33_000 * number, 33_000 * number + 5, len(image), len(depth)), image, depth]
    return b"".join(parts)


def read_color(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a file."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]


def read_plane(path: Path) -> NDArray:
    """(H, W) of a grey file."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def fill(writer: SceneWriter, numbers: Sequence[int] = range(3)) -> None:
    """Frames of the miniature scene."""
    for number in numbers:
        writer.add(number, color(number), depth_units(number) / 1000, pose(number), INTRINSICS)
