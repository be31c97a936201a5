"""Sides of surfaces that the cameras saw, so that a viewer can look past walls into a room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.drawing.splatting import NEIGHBOURS, SurfaceCloud, make_cloud

_HIDDEN_COSINE = -0.05
"""Cosine of the angle between seen side and viewing direction below which a surface counts as seen from behind."""
_CAMERAS = 24
"""Largest number of cameras that vote on the side."""


def seen_normals(cloud: SurfaceCloud, cameras: NDArray) -> NDArray[np.float64]:
    """(S, 3) unit normals of the sample, on the side that the cameras (N, 3) see."""
    sample, neighbours = cloud.sample, cloud.neighbours
    spread = sample[neighbours] - sample[neighbours].mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(spread.swapaxes(1, 2) @ spread)[1][:, :, 0]
    seen_from = np.zeros(len(sample))
    for camera in cameras[:: max(1, len(cameras) // _CAMERAS)]:  # near cameras have more weight
        direction = camera - sample
        seen_from += np.einsum("nc,nc->n", normals, direction) / (np.linalg.norm(direction, axis=1) ** 3 + 1e-12)
    return normals * np.sign(seen_from)[:, None]


def faces_viewer(cloud: SurfaceCloud, normals: NDArray, viewer: NDArray) -> NDArray[np.bool_]:
    """(P,) whether the side of each point's surface that the cameras see is the viewer's (3,) side too."""
    direction = viewer - cloud.sample
    cosine = np.einsum("nc,nc->n", normals, direction) / np.linalg.norm(direction, axis=1)
    # Decided per neighbourhood to avoid ragged holes: a quarter of hidden neighbours hides a point.
    lower_quartile = np.partition(cosine[cloud.neighbours], NEIGHBOURS // 4, axis=1)[:, NEIGHBOURS // 4]
    return lower_quartile[cloud.owner] > _HIDDEN_COSINE


def smooth_normals(points: NDArray, cameras: NDArray, sample: int) -> NDArray[np.float32]:
    """Normals of all points on the side that the cameras see, the mean of their neighbourhood's.

    Args:
        points: (P, 3), finite.
        cameras: (N, 3) positions, N >= 1.
        sample: largest number of points used to estimate normals.

    Returns:
        (P, 3) of unit length; zeros where there are too few points for a surface.
    """
    if len(points) <= NEIGHBOURS:
        return np.zeros((len(points), 3), np.float32)
    cloud = make_cloud(points, np.zeros((len(points), 3), np.uint8), sample)
    mean = seen_normals(cloud, cameras)[cloud.neighbours].mean(axis=1)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True).clip(1e-12)
    return mean[cloud.owner].astype(np.float32)
