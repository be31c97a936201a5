"""COLMAP models of known cameras, written byte by byte as COLMAP documents its files."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tests.support.raw_trees import write

MODEL_NUMBERS = {"PINHOLE": 1, "OPENCV": 4, "OPENCV_FISHEYE": 5}


def write_model(
    folder: Path,
    model: str,
    size: tuple[int, int],
    parameters: list[float],
    poses: Mapping[str, NDArray],
    binary: bool = False,
) -> None:
    """One camera, and an image for each pose (4, 4, camera to world) by name; images have two features each."""
    rows = []
    for name, camera_to_world in poses.items():
        world_to_camera = np.linalg.inv(camera_to_world) if np.isfinite(camera_to_world).all() else camera_to_world
        rotation = np.nan_to_num(world_to_camera[:3, :3])
        quaternion = Rotation.from_matrix(rotation).as_quat() if rotation.any() else np.full(4, np.nan)
        rows.append((*np.roll(quaternion, 1), *world_to_camera[:3, 3], name))
    if binary:
        _write_binary(folder, model, size, parameters, rows)
    else:
        _write_text(folder, model, size, parameters, rows)


def _write_text(folder: Path, model: str, size: tuple[int, int], parameters: list[float], rows: list) -> None:
    values = " ".join(map(repr, map(float, parameters)))
    cameras = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    write(folder / "cameras.txt", "\n".join([*cameras, f"3 {model} {size[1]} {size[0]} {values}"]) + "\n")
    images = ["# Image list with two lines of data per image:", "#   POINTS2D[] as (X, Y, POINT3D_ID)"]
    for number, (*pose, name) in enumerate(rows):
        images.append(f"{number + 1} {' '.join(repr(float(value)) for value in pose)} 3 {name}")
        images.append("" if number % 2 else "10.5 20.25 -1 30.0 40.0 7")
    write(folder / "images.txt", "\n".join(images) + "\n")


def _write_binary(folder: Path, model: str, size: tuple[int, int], parameters: list[float], rows: list) -> None:
    camera = struct.pack("<QiiQQ", 1, 3, MODEL_NUMBERS[model], size[1], size[0])
    write(folder / "cameras.bin", camera + struct.pack(f"<{len(parameters)}d", *parameters))
    parts = [struct.pack("<Q", len(rows))]
    for number, (*pose, name) in enumerate(rows):
        parts += [struct.pack("<i7di", number + 1, *pose, 3), name.encode(), b"\0", struct.pack("<Q", 2)]
        parts += [struct.pack("<ddQddQ", 10.5, 20.25, 2**64 - 1, 30.0, 40.0, 7)]
    write(folder / "images.bin", b"".join(parts))
