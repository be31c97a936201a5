"""Gaussian centres on the viewing rays of their pixels, and the camera poses that this needs.

A network that predicts free points must place each of them with sub-pixel lateral accuracy, or renderings blur; a
small network cannot. With known intrinsics, only the depth of a pixel and the pose of its view are unknown, and the
pose is over-determined by all points together. So the pose is solved from the points (PnP, as DUSt3R, arXiv
2312.14132, section 3.3, does), and every point moves to its pixel's ray at its depth in that camera (depth along
rays is also the parametrization of pixelSplat, arXiv 2312.12337).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.geometry.cameras import pixel_rays
from common.geometry.poses import PnpPose, PnpSettings, pose_from_pnp
from common.geometry.transforms import apply_transform
from common.views import Pointmaps

POSE_SETTINGS = PnpSettings(max_pixels=2048)
_POSE_SIDE = 128
"""Shorter side in pixels for which the settings state their reprojection error: errors of depth, so of angles, decide
it, and it grows with the picture."""
_POSE_ATTEMPTS = (1, 2)
"""Factors of the reprojection error that are tried until a pose is found."""
_NEAREST = 0.01
"""Smallest depth of a point, as a share of the mean depth of its view: no point lies behind its own camera."""


@dataclass(frozen=True)
class AlignedPoints:
    """Points on rays."""

    points: Tensor
    """(B, V, H, W, 3) in the frame of view 0. Gradients reach the original points through the depth."""
    camera_to_world: Tensor
    """(B, V, 4, 4) poses of the views in that frame, without gradient; NaN where none was found."""
    found: Tensor
    """(B, V) bool. The points of a view without a pose stay as they were."""


def align_to_rays(
    pointmaps: Pointmaps,
    intrinsics: Tensor,
    log_depth: Tensor | None = None,
    camera_to_world: Tensor | None = None,
    settings: PnpSettings = POSE_SETTINGS,
) -> AlignedPoints:
    """Move points to the rays of their pixels.

    Args:
        pointmaps: (B, V, H, W, ..) of all views in the camera frame of view 0. Points of at least median confidence
            decide the pose.
        intrinsics: (B, V, 3, 3), pixels.
        log_depth: (B, V, H, W) correction of the logarithm of the depths; None for none.
        camera_to_world: (B, V, 4, 4) known poses; None solves them from the points.
        settings: settings of PnP for pictures of 128 pixels. View 0 needs none.
    """
    points = pointmaps.points
    poses = estimate_poses(pointmaps, intrinsics, settings) if camera_to_world is None else camera_to_world.detach()
    found = poses.isfinite().all(dim=(-2, -1))
    safe = torch.where(found[..., None, None], poses, torch.eye(4).to(poses))
    depth = own_depth(points, safe)
    least = _NEAREST * depth.detach().abs().mean(dim=(-2, -1), keepdim=True)
    depth = torch.maximum(depth, least)
    if log_depth is not None:
        depth = depth * log_depth.exp()
    rays = pixel_rays(intrinsics.to(points), (points.shape[2], points.shape[3]))
    with torch.autocast(points.device.type, enabled=False):  # half precision would move points off their rays
        aligned = apply_transform(safe.float(), depth[..., None].float() * rays.float())
    return AlignedPoints(torch.where(found[..., None, None, None], aligned, points), poses, found)


def own_depth(points: Tensor, camera_to_world: Tensor) -> Tensor:
    """(B, V, H, W) depth of points (B, V, H, W, 3) along the axes of cameras (B, V, 4, 4)."""
    # Not a matrix product, in which autocast would round the depth to half precision.
    axis, centre = camera_to_world[..., :3, 2], camera_to_world[..., :3, 3]
    return ((points - centre[:, :, None, None]) * axis[:, :, None, None]).sum(dim=-1)


@torch.no_grad()
def estimate_poses(pointmaps: Pointmaps, intrinsics: Tensor, settings: PnpSettings = POSE_SETTINGS) -> Tensor:
    """(B, V, 4, 4) camera-to-world poses in the frame of view 0, which has the identity; NaN where PnP fails."""
    points, confidence = pointmaps.points.detach().float(), pointmaps.confidence.detach().float()
    poses = torch.eye(4, device=points.device).repeat(*points.shape[:2], 1, 1)
    confident = confidence >= confidence.flatten(2).median(dim=-1).values[..., None, None]
    for scene in range(points.shape[0]):
        for view in range(1, points.shape[1]):
            usable = confident[scene, view]
            poses[scene, view] = _pose(points[scene, view], intrinsics[scene, view], usable, settings).to(poses)
    return poses


def _pose(points: Tensor, intrinsics: Tensor, usable: Tensor, settings: PnpSettings) -> Tensor:
    """(4, 4) camera-to-world of one view, NaN where no attempt finds any; (H, W, 3), (3, 3) and (H, W)."""
    error = settings.reprojection_error * min(usable.shape) / _POSE_SIDE
    for factor in _POSE_ATTEMPTS:
        pose = pose_from_pnp(points, intrinsics, usable, replace(settings, reprojection_error=factor * error))
        if isinstance(pose, PnpPose):
            return pose.camera_to_world
    return torch.full((4, 4), torch.nan)
