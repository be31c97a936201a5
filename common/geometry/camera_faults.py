"""Checks of camera poses that users give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ORTHONORMAL = 1e-2
"""Rotations are written with few digits; more than this is no rotation."""


def pose_fault(camera_to_world: NDArray) -> str | None:
    """The reason why a matrix (3, 4) or (4, 4) is no camera pose; None if it is one.

    ScanNet writes minus infinity where tracking was lost.
    """
    matrix = np.asarray(camera_to_world)
    if matrix.shape not in ((3, 4), (4, 4)):
        return f"its pose is {' x '.join(map(str, matrix.shape)) or 'a number'}, not 3 x 4 or 4 x 4"
    if not np.isfinite(matrix).all():
        return "its pose is not finite"
    if matrix.shape == (4, 4) and not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        return "the last row of its pose is not 0 0 0 1"
    rotation = matrix[:3, :3]
    if not np.allclose(rotation.T @ rotation, np.eye(3), atol=_ORTHONORMAL):
        return "the 3 x 3 part of its pose is not orthonormal: it is scaled or sheared"
    if np.linalg.det(rotation) < 0:
        return "the 3 x 3 part of its pose mirrors"
    return None
