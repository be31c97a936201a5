"""Unit of length of a network's world, and true cameras and points expressed in it."""

from __future__ import annotations

import torch
from torch import Tensor

from common.geometry.cameras import unproject_to_world
from common.geometry.normalization import divide_by_scale, joint_scale
from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Cameras, Views
from uni3r.models.description import SceneUnit


def scene_unit(context: Views, settings: SceneUnit) -> Tensor:
    """(B,) unit of each scene, metres."""
    rule, poses = settings.rule, context.camera_to_world
    assert poses is not None, "the unit of a scene needs poses"
    if rule == "metric":
        return poses.new_ones(len(poses))
    if rule == "points":
        assert context.depth is not None, "the unit of the points needs depth"
        points, valid = context_points(context)
        return joint_scale(points, valid) / settings.points_distance
    if rule not in ("two_view", "first_last"):
        raise ValueError(f"unknown unit {rule!r}; use two_view, first_last, metric or points")
    other = 1 if rule == "two_view" else -1
    distance = (poses[:, other, :3, 3] - poses[:, 0, :3, 3]).norm(dim=-1)
    return distance.clamp_min(1e-6)


def cameras_in_unit(views: Views, reference: Tensor, unit: Tensor) -> Cameras:
    """Cameras (B, V) in the frame of the reference camera (B, 4, 4), with positions over the unit (B,)."""
    assert views.camera_to_world is not None and views.intrinsics is not None
    poses = invert_rigid(reference)[:, None] @ views.camera_to_world
    poses[..., :3, 3] = divide_by_scale(poses[..., :3, 3], unit)
    return Cameras(poses, views.intrinsics)


def context_points(context: Views) -> tuple[Tensor, Tensor]:
    """True points (B, V, H, W, 3) in the frame of camera 0, metres, and their validity (B, V, H, W)."""
    assert context.depth is not None and context.intrinsics is not None and context.camera_to_world is not None
    valid = (context.depth > 0) & context.depth.isfinite()
    world = unproject_to_world(torch.where(valid, context.depth, 0.0), context.intrinsics, context.camera_to_world)
    return apply_transform(invert_rigid(context.camera_to_world[:, 0]), world), valid
