"""A growing map as a rerun recording (``.rrd``), to be scrubbed through in rerun's viewer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.drawing.replay_film import GrowingMap
from common.drawing.rerun_scene import rerun_recording
from common.files import atomic_path
from common.geometry.up_axis import find_up


def write_rerun(path: Path, growing: GrowingMap, intrinsics: NDArray[np.float64]) -> None:
    """Write every step's points, camera and picture on the timeline ``frame``.

    Args:
        path: ends in .rrd.
        growing: the map, by steps.
        intrinsics: (3, 3) of the pictures; the centre of the top left pixel is (0, 0).

    Raises:
        ImportError: rerun is missing; it comes with the extra ``viewer``.
    """
    known = growing.camera_to_world[np.isfinite(growing.camera_to_world).all(axis=(1, 2))]
    with atomic_path(path) as temporary, rerun_recording("reconstruction", temporary) as scene:
        scene.begin(0)
        scene.new_world("world", find_up(known) if len(known) else None)
        scene.pinhole(intrinsics, growing.images.shape[1:3])
        for step, (pose, image) in enumerate(zip(growing.camera_to_world, growing.images, strict=True)):
            scene.begin(step)
            new = growing.step == step
            scene.points(step, growing.points[new], growing.colors[new])
            scene.picture(image)
            if np.isfinite(pose).all():
                scene.camera(pose)
