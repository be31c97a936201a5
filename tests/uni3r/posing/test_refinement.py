"""Poses of the context refined on the pictures alone, and the motion between a surface and a picture: known truth."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from common.geometry.cameras import make_intrinsics, pixel_rays
from common.geometry.transforms import invert_rigid, make_transform, rotation_angle
from common.views import Cameras, Views
from tests.support.tiny_uni3r import true_scene, two_views
from uni3r.gaussians.gaussians import Gaussians
from uni3r.models.attributes import AttributeSettings, gaussians_from_attributes
from uni3r.models.ray_alignment import align_to_rays
from uni3r.posing.direct_alignment import align_directly
from uni3r.posing.picture_matching import PictureMatching
from uni3r.posing.refinement import refine_context, search_unit, view_part
from uni3r.posing.settings import DirectSettings, RefinementSettings

DEGREES = 180 / torch.pi


@pytest.fixture(scope="module")
def room() -> Views:
    return two_views()


def _splats(room: Views, points: Tensor) -> Gaussians:
    """One solid splat per pixel, of its colour."""
    settings = AttributeSettings(feature_channels=0, sh_degree=0, scale="softplus", colour="image")
    raw = torch.zeros(*points.shape[:-1], settings.channels)
    raw[..., 3], raw[..., 7] = 1, 4
    return gaussians_from_attributes(raw, points, settings, room.images)


def _turned(degrees: tuple[float, float], shift: tuple[float, float, float]) -> Tensor:
    turn = torch.from_numpy(Rotation.from_euler("yx", degrees, degrees=True).as_matrix()).float()
    return make_transform(turn, torch.tensor(shift))


INTRINSICS = make_intrinsics(torch.tensor(60.0), torch.tensor([31.5, 31.5]))
NORMAL = torch.tensor([-0.3, 0.2, 1.0])
"""A painted wall: points with NORMAL . x = 3, metres."""


def _seen(camera_to_world: Tensor) -> tuple[Tensor, Tensor]:
    """A camera's view of the wall: points (P, 3) in its own axes, and the picture (3, 64, 64)."""
    rays = pixel_rays(INTRINSICS, (64, 64))
    turned = rays @ camera_to_world[:3, :3].T
    depth = (3 - camera_to_world[:3, 3] @ NORMAL) / (turned @ NORMAL)
    x, y, _ = (camera_to_world[:3, 3] + depth[..., None] * turned).unbind(-1)
    paint = torch.stack([(4 * x + y).sin(), (5 * y - x).sin() * (2 * x).cos(), (3 * x * y).sin()])
    return (depth[..., None] * rays).flatten(0, 1), 0.5 + 0.4 * paint


def _motion_error(found: Tensor, true: Tensor) -> tuple[float, float]:
    """Degrees and metres."""
    return (
        float(rotation_angle(found[:3, :3], true[:3, :3])) * DEGREES,
        float((found[:3, 3] - true[:3, 3]).norm()),
    )


@pytest.mark.parametrize("exposure", [1.0, 0.7])
def test_motion_between_a_surface_and_a_picture(exposure: float) -> None:
    """Also where the picture is darker than the surface."""
    points, painted = _seen(torch.eye(4))
    pose = _turned((4, -3), (0.15, -0.1, 0.05))
    _, picture = _seen(pose)
    found = align_directly(points, painted.flatten(1).T, exposure * picture, INTRINSICS)
    degrees, metres = _motion_error(found, invert_rigid(pose))
    assert degrees < 0.02 and metres < 2e-3


def test_outliers_pull_little() -> None:
    """Something in the picture that the surface does not know."""
    points, painted = _seen(torch.eye(4))
    pose = _turned((2, -1), (0.05, -0.1, 0.05))
    _, picture = _seen(pose)
    picture[:, 20:32, 10:22] = 0.0
    true, colors = invert_rigid(pose), painted.flatten(1).T
    robust = _motion_error(align_directly(points, colors, picture, INTRINSICS), true)
    squares = _motion_error(align_directly(points, colors, picture, INTRINSICS, DirectSettings(outlier=10)), true)
    assert robust[0] < 0.5 and robust[1] < 0.03
    assert robust[0] < 0.3 * squares[0] and robust[1] < 0.3 * squares[1]


def test_motion_is_in_the_unit_of_the_points() -> None:
    points, painted = _seen(torch.eye(4))
    _, picture = _seen(_turned((2, -1), (0.05, -0.1, 0.05)))
    metres = align_directly(points, painted.flatten(1).T, picture, INTRINSICS)
    feet = align_directly(points / 0.3048, painted.flatten(1).T, picture, INTRINSICS)
    torch.testing.assert_close(feet[:3, :3], metres[:3, :3], atol=1e-4, rtol=0)
    torch.testing.assert_close(0.3048 * feet[:3, 3], metres[:3, 3], atol=1e-4, rtol=0)


def test_nothing_moves_what_is_not_seen_or_has_no_contrast() -> None:
    points, painted = _seen(torch.eye(4))
    colors = painted.flatten(1).T
    behind = points * torch.tensor([1.0, 1.0, -1.0])
    torch.testing.assert_close(align_directly(behind, colors, painted, INTRINSICS), torch.eye(4))
    grey = torch.full_like(painted, 0.5)
    torch.testing.assert_close(align_directly(points, colors, grey, INTRINSICS), torch.eye(4))


def test_pictures_refine_a_wrong_pose(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    wrong = cameras.camera_to_world[0].clone()
    wrong[1] = wrong[1] @ _turned((6, -3), (0.05, -0.03, 0.02))
    splats = _splats(room, align_to_rays(pointmaps, room.intrinsics, None, wrong[None]).points)
    found = refine_context(splats, Cameras(wrong, room.intrinsics[0]), (room.images[0] + 1) / 2)
    before = rotation_angle(wrong[1, :3, :3], cameras.camera_to_world[0, 1, :3, :3]) * DEGREES
    after = rotation_angle(found[1, :3, :3], cameras.camera_to_world[0, 1, :3, :3]) * DEGREES
    assert before > 6
    assert after < 1.5
    assert (found[1, :3, 3] - cameras.camera_to_world[0, 1, :3, 3]).norm() < 0.05
    torch.testing.assert_close(found[0], wrong[0])


def test_a_view_that_nothing_covers_keeps_its_pose(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    given = Cameras(cameras.camera_to_world[0], room.intrinsics[0])
    uncovered = RefinementSettings(min_coverage=1.0)
    found = refine_context(_splats(room, pointmaps.points), given, (room.images[0] + 1) / 2, uncovered)
    torch.testing.assert_close(found, given.camera_to_world)


def test_the_better_of_two_poses_is_told_from_the_picture(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    first = view_part(_splats(room, pointmaps.points), 0, 2)
    matching = PictureMatching([first], (64, 64), (room.images[0, 1:] + 1) / 2, room.intrinsics[0, 1:], 1.0)
    true = cameras.camera_to_world[0, 1]
    wrong = true @ _turned((6, -3), (0.05, -0.03, 0.02))
    assert matching.is_better(true, wrong) and not matching.is_better(wrong, true)
    assert not matching.is_better(true, true)


def test_the_unit_of_known_poses_is_found_from_the_pictures(room: Views) -> None:
    pointmaps, cameras = true_scene(room)
    splats = view_part(_splats(room, pointmaps.points), 0, 2)
    metres = cameras.camera_to_world[0].clone()
    metres[:, :3, 3] *= 2.5  # the known poses are in another unit than the network's points
    unit = search_unit(splats, Cameras(metres, room.intrinsics[0]), (room.images[0] + 1) / 2)
    assert unit == pytest.approx(2.5, rel=0.2)


def test_cameras_that_do_not_move_have_no_unit(room: Views) -> None:
    pointmaps, _ = true_scene(room)
    still = Cameras(torch.eye(4).expand(2, 4, 4), room.intrinsics[0])
    assert search_unit(view_part(_splats(room, pointmaps.points), 0, 2), still, (room.images[0] + 1) / 2) is None


def test_faulty_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RefinementSettings(shrink=(4, 0))
    with pytest.raises(ValueError, match="outlier"):
        DirectSettings(outlier=0.0)
