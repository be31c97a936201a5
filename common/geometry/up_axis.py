"""Up axis and mean viewing direction of a scene, from the orientation of its cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ALL_ROUND = 0.3
"""Below this length of the mean viewing direction, the cameras looked in all directions."""
_SPREAD = 0.02
"""Least second eigenvalue, of a sum of one, for the cameras' horizontal axes to span a plane (8 degrees to a side)."""


def find_up(camera_poses: ArrayLike) -> NDArray[np.float64]:
    """World up axis, a unit vector (3,).

    People hold cameras level: their horizontal axes lie in the ground plane even where they look up or down, so up is
    the direction most nearly orthogonal to all of them. Where the cameras did not turn, it is the mean of the images'
    own up.

    Args:
        camera_poses: (N, 4, 4) camera-to-world, OpenCV axes, N >= 1.
    """
    poses = np.asarray(camera_poses, np.float64).reshape(-1, 4, 4)
    right, image_up = poses[:, :3, 0], -poses[:, :3, 1]
    mean = image_up.mean(axis=0)
    values, vectors = np.linalg.eigh(right.T @ right / len(poses))
    if values[1] >= _SPREAD:
        up = vectors[:, 0]
        if abs(up @ mean) > 0.3:  # otherwise the images do not determine the sign of the axis
            return up * np.sign(up @ mean)
    norm = np.linalg.norm(mean)
    return mean / norm if norm > 1e-3 else image_up[0] / np.linalg.norm(image_up[0])


def level_direction(camera_poses: ArrayLike, up: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector (3,), orthogonal to ``up`` (3,), in which the cameras (N, 4, 4) look on average.

    Where they look in all directions, it is that of the first camera.
    """
    poses = np.asarray(camera_poses, np.float64).reshape(-1, 4, 4)
    mean = poses[:, :3, 2].mean(axis=0)
    for direction in (mean if np.linalg.norm(mean) > _ALL_ROUND else poses[0, :3, 2], poses[0, :3, 2]):
        level = direction - direction @ up * up
        if np.linalg.norm(level) > 1e-3:
            return level / np.linalg.norm(level)
    level = np.cross(up, poses[0, :3, 0])  # the first camera looks straight up or down
    return level / np.linalg.norm(level)
