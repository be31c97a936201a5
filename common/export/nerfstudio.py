"""Cameras as a nerfstudio ``transforms.json``: OpenGL camera axes, pixel centres at (0.5, 0.5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.files import read_json, write_json

_OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Flips y and z of the camera axes; its own inverse. World axes stay."""


@dataclass(frozen=True)
class NerfstudioScene:
    """What a transforms.json says, in the conventions of this project."""

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
) -> None:
    """Write a transforms.json.

    Args:
        path: of the JSON file.
        camera_to_world: (N, 4, 4), OpenCV camera axes.
        intrinsics: (3, 3) shared, or (N, 3, 3) per frame; pixels, the centre of the top left pixel is (0, 0).
        size: (height, width) of the images, or (N, 2) where they differ; then intrinsics are per frame too.
        image_paths: N paths relative to the folder of the file.
        ply_path: point cloud to start from, relative to the folder of the file.
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
    frames: list[dict[str, Any]] = []
    for i, (pose, name) in enumerate(zip(poses @ _OPENGL_FROM_OPENCV, image_paths, strict=True)):
        own = _intrinsics_entries(matrices[i], sizes[i]) if matrices.ndim == 3 else {}
        frames.append({"file_path": str(name), **own, "transform_matrix": pose.tolist()})
    shared = _intrinsics_entries(matrices, sizes) if matrices.ndim == 2 else {}
    start = {} if ply_path is None else {"ply_file_path": ply_path}
    write_json(path, {"camera_model": "OPENCV", **shared, **start, "frames": frames})


def _intrinsics_entries(intrinsics: NDArray, size: NDArray) -> dict[str, float | int]:
    height, width = size
    return {
        "fl_x": float(intrinsics[0, 0]),
        "fl_y": float(intrinsics[1, 1]),
        "cx": float(intrinsics[0, 2] + 0.5),
        "cy": float(intrinsics[1, 2] + 0.5),
        "w": int(width),
        "h": int(height),
    }


def read_nerfstudio(path: str | os.PathLike[str]) -> NerfstudioScene:
    """Read a transforms.json of undistorted pinhole cameras."""
    content = read_json(path)
    merged = [{**content, **frame} for frame in content["frames"]]
    if any(frame.get(key) for frame in merged for key in ("k1", "k2", "k3", "k4", "p1", "p2")):
        raise ValueError(f"{path} has lens distortion: undistort the images first")
    intrinsics = np.tile(np.eye(3), (len(merged), 1, 1))
    for matrix, frame in zip(intrinsics, merged, strict=True):
        matrix[0, 0], matrix[1, 1] = frame["fl_x"], frame["fl_y"]
        matrix[:2, 2] = frame["cx"] - 0.5, frame["cy"] - 0.5
    poses = np.array([frame["transform_matrix"] for frame in merged], np.float64).reshape(-1, 4, 4)
    return NerfstudioScene(
        camera_to_world=poses @ _OPENGL_FROM_OPENCV,
        intrinsics=intrinsics,
        sizes=np.array([(frame["h"], frame["w"]) for frame in merged], np.int64).reshape(-1, 2),
        image_paths=[frame["file_path"] for frame in merged],
        ply_path=content.get("ply_file_path"),
    )
