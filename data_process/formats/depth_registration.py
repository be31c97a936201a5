"""Registration of depth images to another camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def register_depth(
    depth: NDArray[np.float32],
    intrinsics: NDArray,
    target_from_source: NDArray,
    target_intrinsics: NDArray,
    target_size: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Reproject a depth image into a second camera.

    Every valid pixel is written to the nearest pixel of the target, where the nearest surface wins. A target with a
    longer focal length gets holes; pixels that the first camera does not see stay 0.

    Args:
        depth: (H, W) metres along z, 0 invalid.
        intrinsics: (3, 3) of the depth camera, pixels.
        target_from_source: (4, 4) from the axes of the depth camera to those of the target, metres.
        target_intrinsics: (3, 3), pixels.
        target_size: (height, width); None for that of `depth`.

    Returns:
        (height, width) metres along the target's z, 0 invalid.
    """
    height, width = target_size or depth.shape
    rows, columns = np.nonzero(depth)
    pixels = np.stack([columns, rows, np.ones_like(rows)]).astype(np.float64)
    rays = np.linalg.solve(np.asarray(intrinsics, np.float64), pixels)
    points = target_from_source[:3, :3] @ (rays * depth[rows, columns]) + target_from_source[:3, 3:]
    points = points[:, points[2] > 0]
    x, y = np.rint((target_intrinsics @ points)[:2] / points[2]).astype(np.int64)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index, z = (y * width + x)[inside], points[2][inside]
    registered = np.full(height * width, np.inf, np.float32)
    np.minimum.at(registered, index, z.astype(np.float32))
    registered[np.isinf(registered)] = 0
    return registered.reshape(height, width)
