"""Pinhole cameras: pixels to points and back, batched.

Intrinsics are (..., 3, 3) in pixels with the centre of the top left pixel at (0, 0); camera axes are OpenCV's
(x right, y down, z forward). Depth is along z unless a function says otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.geometry.transforms import apply_transform, invert_rigid


def pixel_grid(size: tuple[int, int], device: torch.device | str | None = None, dtype=torch.float32) -> Tensor:
    """(H, W, 2) coordinates (x, y) of the pixel centres of an image of `size` (height, width)."""
    height, width = size
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=dtype), torch.arange(width, device=device, dtype=dtype), indexing="ij"
    )
    return torch.stack([x, y], dim=-1)


def make_intrinsics(focal: Tensor, principal_point: Tensor) -> Tensor:
    """(..., 3, 3) intrinsics.

    Args:
        focal: (...) one focal length for both axes, pixels.
        principal_point: (..., 2) as (x, y), pixels; broadcasts against focal.
    """
    batch = torch.broadcast_shapes(focal.shape, principal_point.shape[:-1])
    intrinsics = focal.new_zeros(*batch, 3, 3)
    intrinsics[..., 0, 0] = focal
    intrinsics[..., 1, 1] = focal
    intrinsics[..., :2, 2] = principal_point.to(focal)
    intrinsics[..., 2, 2] = 1
    return intrinsics


def pixel_rays(intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """(*B, H, W, 3) viewing rays with z = 1, in camera axes, of intrinsics (*B, 3, 3)."""
    grid = pixel_grid(size, intrinsics.device, intrinsics.dtype)
    # Back-substitution: K is upper triangular with last row (0, 0, 1), and a general inverse loses precision.
    y = (grid[..., 1] - intrinsics[..., None, None, 1, 2]) / intrinsics[..., None, None, 1, 1]
    x = grid[..., 0] - intrinsics[..., None, None, 0, 2] - intrinsics[..., None, None, 0, 1] * y
    x = x / intrinsics[..., None, None, 0, 0]
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def depth_from_distance(distance: Tensor, intrinsics: Tensor) -> Tensor:
    """Depth along z from distance along the ray: (*B, H, W) and (*B, 3, 3) to (*B, H, W), same unit."""
    rays = pixel_rays(intrinsics, (distance.shape[-2], distance.shape[-1]))
    return distance / rays.norm(dim=-1)


def unproject_depth(depth: Tensor, intrinsics: Tensor, along_ray: bool = False) -> Tensor:
    """Unproject a depth map to points.

    Args:
        depth: (*B, H, W); zero (invalid) gives the camera centre; mask it out.
        intrinsics: (*B, 3, 3), pixels.
        along_ray: depth is the distance along the pixel's ray in place of z (Aria Synthetic Environments).

    Returns:
        (*B, H, W, 3) in the camera's frame, unit of the depth.
    """
    if along_ray:
        depth = depth_from_distance(depth, intrinsics)
    return depth[..., None] * pixel_rays(intrinsics, (depth.shape[-2], depth.shape[-1]))


def unproject_to_world(depth: Tensor, intrinsics: Tensor, camera_to_world: Tensor, along_ray: bool = False) -> Tensor:
    """World points (*B, H, W, 3) of depth (*B, H, W), intrinsics (*B, 3, 3) and poses (*B, 4, 4)."""
    return apply_transform(camera_to_world, unproject_depth(depth, intrinsics, along_ray))


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels (*B, ..., 2) as (x, y) of points (*B, ..., 3) in the camera's frame. Points at z = 0 are not finite."""
    image = apply_transform(intrinsics, points)
    return image[..., :2] / image[..., 2:]


def project_world(points: Tensor, intrinsics: Tensor, camera_to_world: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (*B, ..., 2) and depths (*B, ...) of world points (*B, ..., 3); depths are negative behind the camera."""
    points_camera = apply_transform(invert_rigid(camera_to_world), points)
    return project(points_camera, intrinsics), points_camera[..., 2]


def colmap_from_opencv(intrinsics: Tensor) -> Tensor:
    """Intrinsics (..., 3, 3) with the centre of the top left pixel at (0.5, 0.5), as COLMAP and nerfstudio count."""
    return _shift_principal_point(intrinsics, 0.5)


def opencv_from_colmap(intrinsics: Tensor) -> Tensor:
    """Inverse of `colmap_from_opencv`."""
    return _shift_principal_point(intrinsics, -0.5)


def _shift_principal_point(intrinsics: Tensor, shift: float) -> Tensor:
    shifted = intrinsics.clone()
    shifted[..., :2, 2] += shift
    return shifted
