"""Sparse COLMAP models with observations and tracks, as adjusted cameras have them; written by pycolmap."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.files import atomic_folder
from common.geometry.colmap_backend import pycolmap_module


@dataclass(frozen=True)
class TrackedModel:
    """Cameras, and points with the pixels where images see them."""

    camera_to_world: NDArray[np.float64]
    """(N, 4, 4), OpenCV camera axes."""
    intrinsics: NDArray[np.float64]
    """(N, 3, 3) pixels; the centre of the top left pixel is (0, 0)."""
    radial_distortion: NDArray[np.float64]
    """(N,) k1 of each image."""
    sizes: NDArray[np.int64]
    """(N, 2) height and width of the images."""
    image_names: Sequence[str]
    """N paths relative to the image folder."""
    points: NDArray[np.float64]
    """(P, 3), world."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    point: NDArray[np.int64]
    """(O,) row of `points` of each observation."""
    image: NDArray[np.int64]
    """(O,) row of `image_names` of each observation."""
    xy: NDArray[np.float64]
    """(O, 2) pixels; the centre of the top left pixel is (0, 0)."""


def write_tracked_model(folder: str | os.PathLike[str], model: TrackedModel) -> None:
    """Write a model to a folder (usually ``sparse/0``), which is replaced as a whole.

    Images that share size, intrinsics and distortion share a camera: PINHOLE, or with a radial term SIMPLE_RADIAL,
    whose focal length is the mean of the two.
    """
    reconstruction = _build(model)
    with atomic_folder(folder) as temporary:
        reconstruction.write_binary(os.fspath(temporary))


def _build(model: TrackedModel) -> Any:
    pycolmap = pycolmap_module()
    reconstruction = pycolmap.Reconstruction()
    order = np.argsort(model.image, kind="stable")
    starts = np.searchsorted(model.image[order], np.arange(len(model.image_names) + 1))
    place = np.empty(len(order), np.int64)  # position of each observation among those of its image
    cameras: dict[tuple, int] = {}
    for row, name in enumerate(model.image_names):
        own = order[starts[row] : starts[row + 1]]
        place[own] = np.arange(len(own))
        key = (*model.sizes[row], *model.intrinsics[row].ravel(), model.radial_distortion[row])
        if key not in cameras:
            cameras[key] = len(cameras) + 1
            reconstruction.add_camera_with_trivial_rig(_camera(pycolmap, model, row, cameras[key]))
        pose = np.linalg.inv(model.camera_to_world[row])
        image = pycolmap.Image(
            name=name, camera_id=cameras[key], image_id=row + 1, keypoints=np.ascontiguousarray(model.xy[own] + 0.5)
        )
        rigid = pycolmap.Rigid3d(pycolmap.Rotation3d(pose[:3, :3]), pose[:3, 3])
        reconstruction.add_image_with_trivial_frame(image, rigid)
    by_point = np.argsort(model.point, kind="stable")
    ends = np.searchsorted(model.point[by_point], np.arange(len(model.points) + 1))
    for row, point in enumerate(model.points):
        track = pycolmap.Track()
        for observation in by_point[ends[row] : ends[row + 1]]:
            track.add_element(int(model.image[observation]) + 1, int(place[observation]))
        reconstruction.add_point3D(point, track, model.colors[row])
    reconstruction.update_point_3d_errors()
    return reconstruction


def _camera(pycolmap: Any, model: TrackedModel, row: int, identifier: int) -> Any:
    matrix, k1 = model.intrinsics[row], model.radial_distortion[row]
    height, width = (int(side) for side in model.sizes[row])
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5
    kind, parameters = ("PINHOLE", [fx, fy, cx, cy]) if k1 == 0 else ("SIMPLE_RADIAL", [(fx + fy) / 2, cx, cy, k1])
    return pycolmap.Camera(model=kind, width=width, height=height, params=parameters, camera_id=identifier)
