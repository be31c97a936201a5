"""Sparse COLMAP models (cameras, images, points3D), binary or text, for Gaussian splatting and other tools.

Images carry no 2-D features and points no tracks: a feed-forward reconstruction has none.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from common.errors import InputError
from common.export.colmap_reading import read_colmap_images, read_colmap_points
from common.files import atomic_folder

_PINHOLE = 1  # COLMAP's number for the model fx, fy, cx, cy
_CAMERA = struct.Struct("<iiQQ4d")
_IMAGE = struct.Struct("<i7di")
_POINT = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("track", "<u8")])


@dataclass(frozen=True)
class ColmapModel:
    """A sparse model in the conventions of this project; one camera per image or one for all."""

    camera_to_world: NDArray[np.float64]
    """(N, 4, 4), OpenCV camera axes."""
    intrinsics: NDArray[np.float64]
    """(3, 3) shared, or (N, 3, 3); pixels, the centre of the top left pixel is (0, 0)."""
    size: tuple[int, int] | NDArray[np.int64]
    """(height, width) of the images, or (N, 2) where they differ; then there is a camera per image."""
    image_names: Sequence[str]
    """N paths relative to the image folder."""
    points: NDArray[np.float64]
    """(P, 3), world."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""


def make_colmap_model(
    camera_to_world: ArrayLike,
    intrinsics: ArrayLike,
    size: tuple[int, int] | NDArray[np.int64],
    image_names: Sequence[str],
    points: ArrayLike | None = None,
    colors: ArrayLike | None = None,
) -> ColmapModel:
    """Check and convert the fields of a `ColmapModel`. Points without colours are white."""
    poses, matrices = np.asarray(camera_to_world, np.float64), np.asarray(intrinsics, np.float64)
    if len(poses) != len(image_names) or (matrices.ndim == 3 and len(matrices) != len(poses)):
        raise ValueError(f"{len(poses)} poses, {len(image_names)} images, intrinsics {matrices.shape}")
    if np.ndim(size) == 2 and (matrices.ndim != 3 or len(size) != len(poses)):
        raise ValueError("images of different sizes need a size and intrinsics each")
    if not np.isfinite(poses).all():
        raise ValueError("poses must be finite: leave out frames without a pose")
    if any(set(name) & set("\r\n\0") for name in image_names):
        raise ValueError("image names must be one line")
    cloud = np.empty((0, 3)) if points is None else np.asarray(points, np.float64).reshape(-1, 3)
    shades = np.full(cloud.shape, 255, np.uint8) if colors is None else np.asarray(colors, np.uint8).reshape(-1, 3)
    if cloud.shape != shades.shape:
        raise ValueError(f"{len(cloud)} points with {len(shades)} colours")
    return ColmapModel(poses, matrices, size, list(image_names), cloud, shades)


def write_colmap(folder: str | os.PathLike[str], model: ColmapModel, text: bool = False) -> None:
    """Write the three files of a model to a folder (usually ``sparse/0``), which is replaced as a whole."""
    if text and any(len(name.split()) != 1 for name in model.image_names):
        raise ValueError("COLMAP's text format allows no white space in image names: write the binary one")
    writers = _TEXT if text else _BINARY
    with atomic_folder(folder) as temporary:
        for name, write in writers.items():
            with open(temporary / name, "wb") as file:
                write(file, model)
                file.flush()
                os.fsync(file.fileno())


def _camera_rows(model: ColmapModel) -> list[tuple[Any, ...]]:
    """(id, width, height, fx, fy, cx, cy), principal points in COLMAP's pixel coordinates."""
    matrices = model.intrinsics.reshape(-1, 3, 3)
    sizes = np.broadcast_to(np.asarray(model.size, np.int64), (len(matrices), 2)).tolist()
    return [
        (i + 1, width, height, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5)
        for i, (k, (height, width)) in enumerate(zip(matrices, sizes, strict=True))
    ]


def _image_rows(model: ColmapModel) -> list[tuple[Any, ...]]:
    """(id, qw, qx, qy, qz, tx, ty, tz, camera id, name), world-to-camera."""
    if len(model.image_names) == 0:
        return []
    world_from_camera = model.camera_to_world[:, :3, :3]
    rotation = world_from_camera.swapaxes(1, 2)
    translation = 0.0 - (rotation @ model.camera_to_world[:, :3, 3:])[..., 0]  # a plain minus would write -0
    quaternion = np.roll(Rotation.from_matrix(rotation).as_quat(canonical=True), 1, axis=1)  # xyzw to wxyz
    shared = model.intrinsics.ndim == 2
    rows = zip(quaternion, translation, model.image_names, strict=True)
    return [(i + 1, *q, *t, 1 if shared else i + 1, name) for i, (q, t, name) in enumerate(rows)]


def _write_cameras_binary(file: IO[bytes], model: ColmapModel) -> None:
    rows = _camera_rows(model)
    file.write(struct.pack("<Q", len(rows)))
    for identifier, width, height, *parameters in rows:
        file.write(_CAMERA.pack(identifier, _PINHOLE, width, height, *parameters))


def _write_images_binary(file: IO[bytes], model: ColmapModel) -> None:
    rows = _image_rows(model)
    file.write(struct.pack("<Q", len(rows)))
    for *numbers, name in rows:
        file.write(_IMAGE.pack(*numbers) + name.encode("utf-8") + b"\0" + struct.pack("<Q", 0))


def _write_points_binary(file: IO[bytes], model: ColmapModel) -> None:
    records = np.zeros(len(model.points), _POINT)
    records["id"] = np.arange(1, len(records) + 1)
    records["xyz"], records["rgb"] = model.points, model.colors
    file.write(struct.pack("<Q", len(records)) + records.tobytes())


def _write_cameras_text(file: IO[bytes], model: ColmapModel) -> None:
    lines = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"]
    lines += [f"{row[0]} PINHOLE " + " ".join(f"{value:.17g}" for value in row[1:]) for row in _camera_rows(model)]
    file.write(("\n".join(lines) + "\n").encode())


def _write_images_text(file: IO[bytes], model: ColmapModel) -> None:
    lines = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then a line of POINTS2D[] (X Y POINT3D_ID), here empty"]
    for identifier, *pose, camera, name in _image_rows(model):
        lines += [f"{identifier} " + " ".join(f"{value:.17g}" for value in pose) + f" {camera} {name}", ""]
    file.write(("\n".join(lines) + "\n").encode())


def _write_points_text(file: IO[bytes], model: ColmapModel) -> None:
    lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[]"]
    for i, (point, color) in enumerate(zip(model.points.tolist(), model.colors.tolist(), strict=True)):
        lines.append(f"{i + 1} {point[0]:.9g} {point[1]:.9g} {point[2]:.9g} {color[0]} {color[1]} {color[2]} 0")
    file.write(("\n".join(lines) + "\n").encode())


_BINARY = {
    "cameras.bin": _write_cameras_binary,
    "images.bin": _write_images_binary,
    "points3D.bin": _write_points_binary,
}
_TEXT = {"cameras.txt": _write_cameras_text, "images.txt": _write_images_text, "points3D.txt": _write_points_text}


def read_colmap(folder: str | os.PathLike[str]) -> ColmapModel:
    """Read a model of cameras without distortion, binary or text; images in the order of their names.

    Raises:
        InputError: not such a model.
    """
    images = read_colmap_images(folder)
    bent = next((image for image in images if not image.lens.is_straight), None)
    if bent is not None:
        raise InputError(f"{folder}: {bent.name} has lens distortion ({bent.lens.model}): undistort the images first")
    points, colors = read_colmap_points(folder)
    poses = np.array([image.camera_to_world for image in images]).reshape(-1, 4, 4)
    intrinsics = np.array([image.lens.matrix for image in images]).reshape(-1, 3, 3)
    sizes = [image.lens.size for image in images]
    size: tuple[int, int] | NDArray[np.int64] = sizes[0] if len(set(sizes)) == 1 else np.array(sizes, np.int64)
    shared = intrinsics[0] if len({image.lens for image in images}) == 1 else intrinsics
    return ColmapModel(poses, shared, size, [image.name for image in images], points, colors)
