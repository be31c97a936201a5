"""Cameras as a nerfstudio ``transforms.json``: OpenGL camera axes, pixel centres at (0.5, 0.5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import InputError
from common.export.nerfstudio_reading import OPENGL_FROM_OPENCV, read_nerfstudio_frames
from common.files import read_json, write_json


@dataclass(frozen=True)
class NerfstudioScene:
    """Content of a transforms.json, in the conventions of this project."""

    camera_to_world: NDArray[np.float64]
    """(N, 4, 4), OpenCV camera axes."""
    intrinsics: NDArray[np.float64]
    """(N, 3, 3), pixels; the centre of the top left pixel is (0, 0)."""
    sizes: NDArray[np.int64]
    """(N, 2) height, width."""
    image_paths: list[str]
    """As written, relative to the file."""
    ply_path: str | None = None


def write_nerfstudio(
    path: str | os.PathLike[str],
    camera_to_world: ArrayLike,
    intrinsics: ArrayLike,
    size: tuple[int, int] | ArrayLike,
    image_paths: Sequence[str],
    ply_path: str | None = None,
    radial_distortion: ArrayLike | None = None,
) -> None:
    """Write a transforms.json.

    Args:
        path: of the JSON file.
        camera_to_world: (N, 4, 4), OpenCV camera axes.
        intrinsics: (3, 3) shared, or (N, 3, 3) per frame; pixels, the centre of the top left pixel is (0, 0).
        size: (height, width) of the images, or (N, 2) where they differ; then intrinsics are per frame too.
        image_paths: N paths relative to the folder of the file.
        ply_path: point cloud to start from, relative to the folder of the file.
        radial_distortion: (N,) k1 of each image, equal for shared intrinsics; None for none.
    """
    poses, matrices = np.asarray(camera_to_world, np.float64), np.asarray(intrinsics, np.float64)
    if len(poses) != len(image_paths) or (matrices.ndim == 3 and len(matrices) != len(poses)):
        raise ValueError(f"{len(poses)} poses, {len(image_paths)} images, intrinsics {matrices.shape}")
    if not np.isfinite(poses).all():
        raise ValueError("poses must be finite: leave out frames without a pose")
    sizes = np.asarray(size, np.int64)
    if matrices.ndim == 3:
        sizes = np.broadcast_to(sizes, (len(poses), 2))
    elif sizes.ndim != 1:
        raise ValueError("images of different sizes need intrinsics of their own")
    radial = np.zeros(len(poses)) if radial_distortion is None else np.asarray(radial_distortion, np.float64)
    frames: list[dict[str, Any]] = []
    for i, (pose, name) in enumerate(zip(poses @ OPENGL_FROM_OPENCV, image_paths, strict=True)):
        own = _intrinsics_entries(matrices[i], sizes[i], radial[i]) if matrices.ndim == 3 else {}
        frames.append({"file_path": str(name), **own, "transform_matrix": pose.tolist()})
    shared = _intrinsics_entries(matrices, sizes, radial[0] if len(radial) else 0.0) if matrices.ndim == 2 else {}
    start = {} if ply_path is None else {"ply_file_path": ply_path}
    write_json(path, {"camera_model": "OPENCV", **shared, **start, "frames": frames})


def _intrinsics_entries(intrinsics: NDArray, size: NDArray, radial: float) -> dict[str, float | int]:
    height, width = size
    distortion = {"k1": float(radial)} if radial else {}
    return {
        **distortion,
        "fl_x": float(intrinsics[0, 0]),
        "fl_y": float(intrinsics[1, 1]),
        "cx": float(intrinsics[0, 2] + 0.5),
        "cy": float(intrinsics[1, 2] + 0.5),
        "w": int(width),
        "h": int(height),
    }


def read_nerfstudio(path: str | os.PathLike[str]) -> NerfstudioScene:
    """Read a transforms.json of pinhole cameras without distortion, each with a pose.

    Raises:
        InputError: not such a file.
    """
    frames = read_nerfstudio_frames(path)
    for frame in frames:
        if not frame.lens.is_straight:
            raise InputError(f"{path}: {frame.name} has lens distortion: undistort the images first")
        if frame.camera_to_world is None:
            raise InputError(f"{path}: {frame.name} has no transform_matrix of 4 x 4 numbers")
    return NerfstudioScene(
        camera_to_world=np.array([frame.camera_to_world for frame in frames], np.float64).reshape(-1, 4, 4),
        intrinsics=np.array([frame.lens.matrix for frame in frames]).reshape(-1, 3, 3),
        sizes=np.array([frame.lens.size for frame in frames], np.int64).reshape(-1, 2),
        image_paths=[frame.name for frame in frames],
        ply_path=read_json(path).get("ply_file_path"),
    )
