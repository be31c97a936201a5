"""Sparse COLMAP models (cameras, images, points3D), binary or text, for Gaussian splatting and other tools.

Images carry no 2-D features and points no tracks: a feed-forward reconstruction has none.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

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
    """Read a model of PINHOLE cameras as `write_colmap` makes it (no features, no tracks), binary or text."""
    folder = Path(folder)
    read = _read_binary if (folder / "cameras.bin").exists() else _read_text
    cameras, images, points, colors = read(folder)
    numbers = np.array([image[:-1] for image in images], np.float64).reshape(-1, 9)
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    if images:
        rotation = Rotation.from_quat(np.roll(numbers[:, 1:5], -1, axis=1)).inv().as_matrix()
        poses[:, :3, :3] = rotation
        poses[:, :3, 3] = -(rotation @ numbers[:, 5:8, None])[..., 0]
    matrices = {int(camera[0]): _matrix(*camera[3:]) for camera in cameras}
    intrinsics = np.array([matrices[int(i)] for i in numbers[:, 8]]).reshape(-1, 3, 3)
    sizes = {int(camera[0]): (int(camera[2]), int(camera[1])) for camera in cameras}
    first = int(cameras[0][0])
    size: tuple[int, int] | NDArray[np.int64] = sizes[first]
    if len(set(sizes.values())) > 1:
        size = np.array([sizes[int(i)] for i in numbers[:, 8]], np.int64)
    shared = matrices[first] if len(cameras) == 1 else intrinsics
    return ColmapModel(poses, shared, size, [image[-1] for image in images], points, colors)


def _matrix(fx: float, fy: float, cx: float, cy: float) -> NDArray[np.float64]:
    return np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])


def _read_binary(folder: Path) -> tuple[list, list, NDArray, NDArray]:
    data = (folder / "cameras.bin").read_bytes()
    cameras = []
    for identifier, model, *rest in _CAMERA.iter_unpack(data[8:]):
        if model != _PINHOLE:
            raise ValueError(f"camera model {model} is not PINHOLE")
        cameras.append((identifier, *rest))
    data, offset, images = (folder / "images.bin").read_bytes(), 8, []
    for _ in range(struct.unpack_from("<Q", data)[0]):
        numbers, start = _IMAGE.unpack_from(data, offset), offset + _IMAGE.size
        end = data.index(b"\0", start)
        images.append((*numbers, data[start:end].decode("utf-8")))
        features = struct.unpack_from("<Q", data, end + 1)[0]
        offset = end + 9 + 24 * features
    data = (folder / "points3D.bin").read_bytes()
    count = struct.unpack_from("<Q", data)[0]
    if len(data) != 8 + count * _POINT.itemsize:
        raise ValueError(f"{folder} has points with tracks")
    records = np.frombuffer(data, _POINT, offset=8)
    return cameras, images, records["xyz"].copy(), records["rgb"].copy()


def _read_text(folder: Path) -> tuple[list, list, NDArray, NDArray]:
    def rows(name: str) -> list[list[str]]:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        return [line.split() for line in lines if not line.startswith("#")]

    cameras = [(int(row[0]), *map(float, row[2:])) for row in rows("cameras.txt") if row]
    images = [(*map(float, row[:9]), row[9]) for row in rows("images.txt")[::2] if row]
    cloud = np.array([row[1:7] for row in rows("points3D.txt") if row], np.float64).reshape(-1, 6)
    return cameras, images, cloud[:, :3], cloud[:, 3:].astype(np.uint8)
