"""Centres on rays, and poses from points, on a room with known truth."""

from __future__ import annotations

import pytest
import torch

from common.geometry.cameras import pixel_grid, project_world
from common.geometry.transforms import rotation_angle
from common.views import Pointmaps, Views
from tests.support.tiny_uni3r import true_scene, two_views
from uni3r.models.ray_alignment import align_to_rays, estimate_poses

DEGREES = 180 / torch.pi


@pytest.fixture(scope="module")
def room() -> Views:
    return two_views()


def test_true_points_stay_and_give_the_true_poses(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    aligned = align_to_rays(pointmaps, room.intrinsics)
    assert aligned.found.all()
    torch.testing.assert_close(aligned.camera_to_world, cameras.camera_to_world, atol=2e-3, rtol=0)
    torch.testing.assert_close(aligned.points, pointmaps.points, atol=5e-3, rtol=0)


def test_noisy_points_move_to_their_pixels_and_keep_their_depth(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    noisy = Pointmaps(pointmaps.points + 0.03 * torch.randn_like(pointmaps.points), pointmaps.confidence)
    aligned = align_to_rays(noisy, room.intrinsics)
    pixels, depth = project_world(aligned.points[0], room.intrinsics[0], aligned.camera_to_world[0])
    torch.testing.assert_close(pixels, pixel_grid((64, 64)).expand_as(pixels), atol=1e-2, rtol=0)
    assert (rotation_angle(aligned.camera_to_world, cameras.camera_to_world)[0, 1] * DEGREES) < 2.0
    assert depth.min() > 0


def test_known_poses_and_depth_corrections_are_obeyed(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    correction = torch.full(pointmaps.confidence.shape, 0.1)
    aligned = align_to_rays(pointmaps, room.intrinsics, correction, cameras.camera_to_world)
    centres = cameras.camera_to_world[:, :, None, None, :3, 3]
    expected = centres + (pointmaps.points - centres) * torch.e**0.1
    torch.testing.assert_close(aligned.points, expected, atol=1e-3, rtol=1e-3)


def test_the_gradient_passes_through_the_depth_alone(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    points = pointmaps.points.clone().requires_grad_()
    aligned = align_to_rays(Pointmaps(points, pointmaps.confidence), room.intrinsics, None, cameras.camera_to_world)
    aligned.points.square().sum().backward()
    axis = cameras.camera_to_world[:, :, None, None, :3, 2]
    assert points.grad is not None
    assert torch.linalg.cross(points.grad, axis.expand_as(points.grad), dim=-1).abs().max() < 1e-3


def test_points_without_a_pose_stay_as_they_were(room: Views) -> None:
    pointmaps, _ = true_scene(room)
    points = pointmaps.points.clone()
    points[:, 1] = torch.randn_like(points[:, 1])
    aligned = align_to_rays(Pointmaps(points, pointmaps.confidence), room.intrinsics)
    assert aligned.found.tolist() == [[True, False]]
    assert aligned.camera_to_world[0, 1].isnan().all()
    torch.testing.assert_close(aligned.points[0, 1], points[0, 1])


def test_a_pose_is_found_from_the_same_points_in_larger_pictures(room: Views) -> None:
    """Errors of points are errors of angles: a picture four times as large shows them four times as far off."""
    pointmaps, cameras = true_scene(room)
    torch.manual_seed(0)
    rough = pointmaps.points + 0.045 * pointmaps.points[..., 2:] * torch.randn_like(pointmaps.points)
    large = rough.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    confidence = pointmaps.confidence.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    intrinsics = room.intrinsics * torch.tensor([4.0, 4.0, 1.0])[:, None]
    poses = estimate_poses(Pointmaps(large, confidence), intrinsics)
    assert poses.isfinite().all()
    assert (rotation_angle(poses, cameras.camera_to_world)[0, 1] * DEGREES) < 5.0
