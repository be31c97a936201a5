"""Viewing rays and projection of a `Camera`, with its radial term."""

from __future__ import annotations

import torch
from torch import Tensor

from common.geometry.cameras import pixel_grid
from common.refinement.types import Camera

_NEWTON_STEPS = 10


def pixel_unit(camera: Camera) -> float:
    """Factor on thresholds in pixels, which are meant for a longer side of 640; corners are found no better than to
    half of that in smaller pictures."""
    return min(max(max(camera.size) / 640, 0.5), 1.6)


def working_rays(camera: Camera, pixels: Tensor) -> Tensor:
    """Viewing rays (..., 3) with z = 1, in camera axes, of working pixels (..., 2); float64."""
    pixels = pixels.to(torch.float64)
    offset = pixels.new_tensor([camera.cx, camera.cy])
    focal = pixels.new_tensor([camera.fx, camera.fy])
    xy = undistort((pixels - offset) / focal, camera.k1)
    return torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)


def rays(camera: Camera, network_from_working: Tensor, size: tuple[int, int]) -> Tensor:
    """Viewing rays of the network's grid.

    Args:
        camera: in working pixels.
        network_from_working: (3, 3), of the picture.
        size: (H, W) of the grid.

    Returns:
        (H, W, 3) float32 with z = 1, in camera axes: depth times ray is the point.
    """
    working_from_network = torch.linalg.inv(network_from_working.to(torch.float64))
    grid = pixel_grid(size, network_from_working.device, torch.float64)
    homogeneous = torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1) @ working_from_network.T
    return working_rays(camera, homogeneous[..., :2] / homogeneous[..., 2:]).to(torch.float32)


def project(camera: Camera, points: Tensor) -> Tensor:
    """Working pixels (..., 2) of points (..., 3) in the camera's frame; not finite at z = 0, senseless behind."""
    xy = points[..., :2] / points[..., 2:]
    distorted = xy * (1 + camera.k1 * (xy * xy).sum(dim=-1, keepdim=True))
    return distorted * points.new_tensor([camera.fx, camera.fy]) + points.new_tensor([camera.cx, camera.cy])


def undistort(xy: Tensor, k1: float) -> Tensor:
    """Pinhole coordinates (..., 2) of distorted ones: solves r (1 + k1 r^2) = r_d by Newton's method."""
    if k1 == 0.0:
        return xy
    distorted = xy.norm(dim=-1, keepdim=True)
    radius = distorted.clone()
    if k1 < 0:  # beyond this radius the model folds back, and no ray belongs to the pixel
        radius = radius.clamp(max=0.99 / (3 * -k1) ** 0.5)
    for _ in range(_NEWTON_STEPS):
        slope = (1 + 3 * k1 * radius * radius).clamp(min=1e-2)
        radius = radius - (radius * (1 + k1 * radius * radius) - distorted) / slope
        if k1 < 0:
            radius = radius.clamp(max=0.99 / (3 * -k1) ** 0.5)
    return xy * torch.where(distorted > 0, radius / distorted.clamp(min=1e-30), torch.ones_like(radius))
