"""Centres on rays, poses from points, and the refinement of poses on the pictures, on rooms with known truth."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.transform import Rotation

from common.data.rooms import room_seed, room_sequence
from common.geometry.cameras import pixel_grid, project_world
from common.geometry.transforms import make_transform, rotation_angle
from common.views import Cameras, Pointmaps, Views
from uni3r.attributes import AttributeSettings, gaussians_from_attributes
from uni3r.context_refinement import RefinementSettings, refine_context, search_unit, view_part
from uni3r.gaussians import Gaussians
from uni3r.ray_alignment import align_to_rays
from uni3r.view_selection import SceneUnit, cameras_in_unit, context_points, scene_unit

DEGREES = 180 / torch.pi


@pytest.fixture(scope="module")
def room() -> Views:
    return room_sequence(room_seed("held_out", 0, 7), 2, (64, 64), stride=3)[None]


def _truth(room: Views) -> tuple[Pointmaps, Cameras]:
    unit = scene_unit(room, SceneUnit("points"))
    points, _ = context_points(room)
    confidence = torch.full(points.shape[:-1], 2.0)
    return Pointmaps(points / unit, confidence), cameras_in_unit(room, room.camera_to_world[:, 0], unit)


def _splats(room: Views, points: torch.Tensor) -> Gaussians:
    """One solid splat per pixel, of its colour."""
    settings = AttributeSettings(feature_channels=0, sh_degree=0, scale="softplus", colour="image")
    raw = torch.zeros(*points.shape[:-1], settings.channels)
    raw[..., 3], raw[..., 7] = 1, 4
    return gaussians_from_attributes(raw, points, settings, room.images)


def test_true_points_stay_and_give_the_true_poses(room: Views) -> None:
    pointmaps, cameras = _truth(room)
    aligned = align_to_rays(pointmaps, room.intrinsics)
    assert aligned.found.all()
    torch.testing.assert_close(aligned.camera_to_world, cameras.camera_to_world, atol=2e-3, rtol=0)
    torch.testing.assert_close(aligned.points, pointmaps.points, atol=5e-3, rtol=0)


def test_noisy_points_move_to_their_pixels_and_keep_their_depth(room: Views) -> None:
    pointmaps, cameras = _truth(room)
    noisy = Pointmaps(pointmaps.points + 0.03 * torch.randn_like(pointmaps.points), pointmaps.confidence)
    aligned = align_to_rays(noisy, room.intrinsics)
    pixels, depth = project_world(aligned.points[0], room.intrinsics[0], aligned.camera_to_world[0])
    torch.testing.assert_close(pixels, pixel_grid((64, 64)).expand_as(pixels), atol=1e-2, rtol=0)
    assert (rotation_angle(aligned.camera_to_world, cameras.camera_to_world)[0, 1] * DEGREES) < 2.0
    assert depth.min() > 0


def test_known_poses_and_depth_corrections_are_obeyed(room: Views) -> None:
    pointmaps, cameras = _truth(room)
    correction = torch.full(pointmaps.confidence.shape, 0.1)
    aligned = align_to_rays(pointmaps, room.intrinsics, correction, cameras.camera_to_world)
    centres = cameras.camera_to_world[:, :, None, None, :3, 3]
    expected = centres + (pointmaps.points - centres) * torch.e**0.1
    torch.testing.assert_close(aligned.points, expected, atol=1e-3, rtol=1e-3)


def test_the_gradient_passes_through_the_depth_alone(room: Views) -> None:
    pointmaps, cameras = _truth(room)
    points = pointmaps.points.clone().requires_grad_()
    aligned = align_to_rays(Pointmaps(points, pointmaps.confidence), room.intrinsics, None, cameras.camera_to_world)
    aligned.points.square().sum().backward()
    axis = cameras.camera_to_world[:, :, None, None, :3, 2]
    assert points.grad is not None
    assert torch.linalg.cross(points.grad, axis.expand_as(points.grad), dim=-1).abs().max() < 1e-3


def test_points_without_a_pose_stay_as_they_were(room: Views) -> None:
    pointmaps, _ = _truth(room)
    points = pointmaps.points.clone()
    points[:, 1] = torch.randn_like(points[:, 1])
    aligned = align_to_rays(Pointmaps(points, pointmaps.confidence), room.intrinsics)
    assert aligned.found.tolist() == [[True, False]]
    assert aligned.camera_to_world[0, 1].isnan().all()
    torch.testing.assert_close(aligned.points[0, 1], points[0, 1])


def test_pictures_refine_a_wrong_pose(room: Views) -> None:
    pointmaps, cameras = _truth(room)
    turn = torch.from_numpy(Rotation.from_euler("yx", [6, -3], degrees=True).as_matrix()).float()
    wrong = cameras.camera_to_world[0].clone()
    wrong[1] = wrong[1] @ make_transform(turn, torch.tensor([0.05, -0.03, 0.02]))
    splats = _splats(room, align_to_rays(pointmaps, room.intrinsics, None, wrong[None]).points)
    settings = RefinementSettings(shrink=(4, 2), steps=25)
    found = refine_context(splats, Cameras(wrong, room.intrinsics[0]), (room.images[0] + 1) / 2, settings)
    before = rotation_angle(wrong[1, :3, :3], cameras.camera_to_world[0, 1, :3, :3]) * DEGREES
    after = rotation_angle(found[1, :3, :3], cameras.camera_to_world[0, 1, :3, :3]) * DEGREES
    assert before > 6
    assert after < 0.5 * before
    torch.testing.assert_close(found[0], wrong[0])


def test_the_unit_of_known_poses_is_found_from_the_pictures(room: Views) -> None:
    pointmaps, cameras = _truth(room)
    splats = view_part(_splats(room, pointmaps.points), 0, 2)
    metres = cameras.camera_to_world[0].clone()
    metres[:, :3, 3] *= 2.5  # the known poses are in another unit than the network's points
    unit = search_unit(splats, Cameras(metres, room.intrinsics[0]), (room.images[0] + 1) / 2)
    assert unit == pytest.approx(2.5, rel=0.2)


def test_cameras_that_do_not_move_have_no_unit(room: Views) -> None:
    pointmaps, _ = _truth(room)
    still = Cameras(torch.eye(4).expand(2, 4, 4), room.intrinsics[0])
    assert search_unit(view_part(_splats(room, pointmaps.points), 0, 2), still, (room.images[0] + 1) / 2) is None
