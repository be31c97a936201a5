"""The two files of the Replica renders (iMAP, NICE-SLAM) that hold cameras: ``cam_params.json`` and ``traj.txt``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.data.scenes.scene_folder import DataError
from common.files import read_json

CAMERA, TRAJECTORY = "cam_params.json", "traj.txt"


@dataclass(frozen=True)
class ReplicaCamera:
    """The camera of all rooms."""

    intrinsics: NDArray[np.float64]
    """(3, 3), pixels."""
    depth_scale: float
    """Stored units of depth per metre."""


def read_camera(root: Path) -> ReplicaCamera:
    """The camera beside the rooms.

    Raises:
        DataError: the file is missing or incomplete.
    """
    file = root / CAMERA
    try:
        values = read_json(file)["camera"]
        fx, fy, cx, cy, scale = (float(values[key]) for key in ("fx", "fy", "cx", "cy", "scale"))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; it comes with the rooms") from None
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{file}: expected camera: fx, fy, cx, cy, scale") from None
    if not (np.isfinite([fx, fy, cx, cy, scale]).all() and min(fx, fy, scale) > 0):
        raise DataError(f"{file}: expected finite numbers, fx, fy and scale positive")
    return ReplicaCamera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), scale)


def read_trajectory(room: Path) -> NDArray[np.float64]:
    """(N, 4, 4) camera-to-world poses of a room, line k of frame k; OpenCV axes, metres. Not finite where lost.

    Raises:
        DataError: the file is damaged.
    """
    file = room / TRAJECTORY
    try:
        rows = np.loadtxt(file, ndmin=2)
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{file}: expected 16 numbers on every line ({error})") from None
    if rows.size and rows.shape[1] != 16:
        raise DataError(f"{file}: expected 16 numbers on every line, got {rows.shape[1]}")
    return rows.reshape(-1, 4, 4)
