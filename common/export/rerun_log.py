"""A growing map as a rerun recording (``.rrd``), to be scrubbed through in rerun's viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.checkpoints.atomic import atomic_path
from common.export.replay_film import GrowingMap
from common.export.up_axis import find_up

_NAME = "reconstruction"


def write_rerun(path: Path, growing: GrowingMap, intrinsics: NDArray[np.float64]) -> None:
    """Write every step's points, camera and picture on the timeline ``frame``.

    Args:
        path: ends in .rrd.
        growing: what came when.
        intrinsics: (3, 3) of the pictures; the centre of the top left pixel is (0, 0).

    Raises:
        ImportError: rerun is missing; it comes with the extra ``viewer``.
    """
    try:
        import rerun as rr
    except ImportError as error:
        raise ImportError("recordings need rerun: pip install 'slam3r-uni3r[viewer]'") from error
    height, width = growing.images.shape[1:3]
    with atomic_path(path) as temporary:
        stream = rr.RecordingStream(_NAME)
        stream.save(temporary)
        known = growing.camera_to_world[np.isfinite(growing.camera_to_world).all(axis=(1, 2))]
        if len(known):
            stream.log("world", _view_coordinates(rr, find_up(known)), static=True)
        focal, center = intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2] + 0.5  # rerun's pixels begin at their corner
        pinhole = rr.Pinhole(focal_length=focal, principal_point=center, width=width, height=height)
        stream.log("world/camera", pinhole, static=True)
        path_so_far: list[NDArray[np.float64]] = []
        for step, (pose, image) in enumerate(zip(growing.camera_to_world, growing.images, strict=True)):
            stream.set_time("frame", sequence=step)
            new = growing.step == step
            stream.log(f"world/points/{step:05d}", rr.Points3D(growing.points[new], colors=growing.colors[new]))
            stream.log("world/camera/image", rr.Image(np.asarray(image)).compress())
            if np.isfinite(pose).all():
                path_so_far.append(pose[:3, 3])
                stream.log("world/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
                stream.log("world/path", rr.LineStrips3D([np.array(path_so_far)]))
        stream.flush()
        stream.disconnect()


def _view_coordinates(rr: Any, up: NDArray[np.float64]) -> Any:
    """Rerun knows only the six axes: the nearest one."""
    axis = int(np.abs(up).argmax())
    names = ("RIGHT_HAND_X", "RIGHT_HAND_Y", "RIGHT_HAND_Z")
    return getattr(rr.ViewCoordinates, f"{names[axis]}_{'UP' if up[axis] > 0 else 'DOWN'}")
