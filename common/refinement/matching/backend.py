"""Our cameras and poses as pycolmap's, its options, and its silence."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.geometry.colmap_backend import pycolmap_module
from common.refinement.types import Camera

_lock = threading.Lock()
_depth = 0
_level = 0


@contextmanager
def silence() -> Iterator[None]:
    """Keep pycolmap's log quiet, which is global; nested and concurrent use restores the level at the last exit."""
    global _depth, _level
    logging = pycolmap_module().logging
    with _lock:
        if _depth == 0:
            _level = logging.minloglevel
            logging.minloglevel = 3
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                logging.minloglevel = _level


def usable_threads(threads: int | None) -> int:
    """The number asked for, or that of the cores which this process may use."""
    if threads is not None:
        return max(threads, 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def colmap_camera(camera: Camera, identifier: int) -> Any:
    """A pycolmap camera. Its pixels are ours (centre of the top left at (0, 0)), as pycolmap never looks at images."""
    height, width = camera.size
    if abs(camera.fx - camera.fy) <= 1e-9 * camera.fx:
        model, parameters = "SIMPLE_RADIAL", [camera.focal, camera.cx, camera.cy, camera.k1]
    else:
        model, parameters = "OPENCV", [camera.fx, camera.fy, camera.cx, camera.cy, camera.k1, 0.0, 0.0, 0.0]
    return pycolmap_module().Camera(
        model=model,
        width=width,
        height=height,
        params=parameters,
        camera_id=identifier,
        has_prior_focal_length=camera.known,
    )


def camera_from_colmap(colmap: Any, before: Camera) -> Camera:
    """The parameters of a pycolmap camera that `colmap_camera` made of `before`."""
    parameters = [float(value) for value in colmap.params]
    if len(parameters) == 4:
        focal, cx, cy, k1 = parameters
        return Camera(focal, focal, cx, cy, before.size, k1, before.known)
    fx, fy, cx, cy, k1 = parameters[:5]
    return Camera(fx, fy, cx, cy, before.size, k1, before.known)


def rigid_from_pose(camera_to_world: NDArray[np.float64]) -> Any:
    """World-to-camera `Rigid3d` of a (4, 4) camera-to-world pose."""
    pycolmap = pycolmap_module()
    rotation = camera_to_world[:3, :3].T
    return pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), -rotation @ camera_to_world[:3, 3])


def pose_from_rigid(camera_from_world: Any) -> NDArray[np.float64]:
    """(4, 4) camera-to-world pose of a world-to-camera `Rigid3d`."""
    pose = np.eye(4)
    pose[:3] = camera_from_world.inverse().matrix()
    return pose


def two_view_options(max_error: float, min_matches: int, seed: int) -> Any:
    """Options of two-view geometry: seeded, single-threaded, without the search for watermarks."""
    options = pycolmap_module().TwoViewGeometryOptions()
    options.min_num_inliers = min_matches
    options.detect_watermark = False
    options.ransac.max_error = max_error
    options.ransac.random_seed = seed
    options.ransac.num_threads = 1
    return options
