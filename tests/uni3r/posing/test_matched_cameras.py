"""Cameras of the context from matches in its pictures, and Gaussians that follow: a true room, and bad input."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.geometry.cameras import pixel_rays
from common.geometry.transforms import apply_transform, invert_rigid, make_transform, rotation_angle
from common.refinement.types import Picture
from common.views import Cameras
from tests.support.filmed_room import FilmedRoom, film
from uni3r.gaussians.gaussians import Gaussians
from uni3r.posing.matched_cameras import MatchedCameras, follow_cameras, match_cameras
from uni3r.posing.settings import MatchedCameraSettings

DEGREES = 180 / torch.pi
VIEWS = [0, 2, 4]
SETTINGS = MatchedCameraSettings()


@pytest.fixture(scope="module")
def room() -> FilmedRoom:
    torch.manual_seed(0)
    return film(7).part(VIEWS)


def _predicted(room: FilmedRoom) -> tuple[Gaussians, Cameras, Tensor]:
    """Prediction with wrong poses, depths and focal length, in the frame of view 0."""
    prediction = room.prediction
    depth, count = prediction.depth, len(prediction)
    intrinsics = prediction.intrinsics.float().expand(count, 3, 3)
    poses = prediction.camera_to_world.float()
    poses = invert_rigid(poses[:1]) @ poses
    rays = pixel_rays(intrinsics, (depth.shape[-2], depth.shape[-1]))
    means = apply_transform(poses, depth[..., None] * rays).reshape(1, -1, 3)
    number = means.shape[1]
    turned = torch.tensor([1.0, 0.1, -0.2, 0.3]).expand(1, number, 4)
    gaussians = Gaussians(
        means, torch.full((1, number, 3), 0.01), turned, torch.ones(1, number), torch.rand(1, number, 4, 3)
    )
    return gaussians, Cameras(poses, intrinsics), prediction.confidence


@pytest.fixture(scope="module")
def matched(room: FilmedRoom) -> MatchedCameras:
    return match_cameras(*_predicted(room), room.pictures, SETTINGS)


def _rotation_error(cameras: Cameras, room: FilmedRoom) -> float:
    """Degrees, of the last view to the first."""
    true = invert_rigid(room.camera_to_world[:1]) @ room.camera_to_world
    return float(rotation_angle(cameras.camera_to_world[-1, :3, :3].double(), true[-1, :3, :3])) * DEGREES


def test_poses_and_focal_length_come_right(room: FilmedRoom, matched: MatchedCameras) -> None:
    _, before, _ = _predicted(room)
    assert matched.taken and matched.verdict.agrees
    assert "cameras refined" in matched.verdict.sentence()
    assert _rotation_error(matched.cameras, room) < 0.5 * _rotation_error(before, room)
    scale = float(room.pictures[0].network_from_working[0, 0])
    wrong, found = (float(cameras.intrinsics[0, 0, 0]) / (scale * room.focal) for cameras in (before, matched.cameras))
    assert abs(found - 1) < 0.5 * abs(wrong - 1)
    torch.testing.assert_close(matched.cameras.camera_to_world[0], torch.eye(4), atol=1e-5, rtol=0)


def test_gaussians_lie_on_the_rays_of_the_new_cameras(room: FilmedRoom, matched: MatchedCameras) -> None:
    size = tuple(room.prediction.depth.shape[-2:])
    count = size[0] * size[1]
    grid = pixel_rays(matched.cameras.intrinsics, size).reshape(len(VIEWS), count, 3)
    local = apply_transform(
        invert_rigid(matched.cameras.camera_to_world), matched.gaussians.means[0].reshape(len(VIEWS), count, 3)
    )
    torch.testing.assert_close(local / local[..., 2:], grid, atol=1e-3, rtol=0)


def _depth_error(room: FilmedRoom, gaussians: Gaussians, cameras: Cameras, chosen: Tensor) -> float:
    """Median error of the logarithm of the chosen pixels' depths (V, H, W), up to one unit for the whole scene."""
    height, width = room.prediction.depth.shape[-2:]
    true = torch.nn.functional.interpolate(room.depth[:, None].float(), (height, width))[:, 0]
    means = gaussians.means[0].reshape(len(true), height * width, 3)
    depth = apply_transform(invert_rigid(cameras.camera_to_world), means)[..., 2].reshape_as(true)
    logs = (depth / true).log()[chosen]
    return float((logs - logs.median()).abs().median())


def test_depths_agree_better_with_the_truth(room: FilmedRoom) -> None:
    """Up to one unit for the whole scene, where the network's own has one for each view."""
    before, cameras, confidence = _predicted(room)
    found = match_cameras(before, cameras, confidence, room.pictures, MatchedCameraSettings(mode="cameras"))
    everywhere = torch.ones_like(confidence, dtype=torch.bool)
    error = _depth_error(room, found.gaussians, found.cameras, everywhere)
    assert error < 0.7 * _depth_error(room, before, cameras, everywhere)


def test_depths_are_searched_in_the_pictures_where_views_confirm_them() -> None:
    """A network's depth has ripples that no smooth surface repairs."""
    torch.manual_seed(0)
    room = film(7)
    ripple = 1 + 0.06 * torch.sin(torch.arange(room.prediction.depth.shape[-1]) / 3)
    room = replace(room, prediction=replace(room.prediction, depth=ripple * room.prediction.depth))
    before, cameras, confidence = _predicted(room)
    smooth = match_cameras(before, cameras, confidence, room.pictures, MatchedCameraSettings(mode="cameras"))
    found = match_cameras(before, cameras, confidence, room.pictures, SETTINGS)
    assert (smooth.verdict.applied, found.verdict.applied) == ("cameras", "dense")
    solid = found.gaussians.opacities.reshape(confidence.shape) == 1
    assert float(solid.float().mean()) > 0.5
    error = _depth_error(room, found.gaussians, found.cameras, solid)
    assert error < 0.6 * _depth_error(room, smooth.gaussians, smooth.cameras, solid)


def test_what_other_views_see_through_fades() -> None:
    torch.manual_seed(0)
    room = film(7)
    depth = room.prediction.depth.clone()
    floating = torch.zeros_like(depth, dtype=torch.bool)
    floating[3, 50:70, 60:90] = True  # in the middle of the film, half as far as what the others see there
    room = replace(room, prediction=replace(room.prediction, depth=torch.where(floating, 0.5 * depth, depth)))
    found = match_cameras(*_predicted(room), room.pictures, MatchedCameraSettings(mode="cameras"))
    opacity = found.gaussians.opacities.reshape(depth.shape)
    assert float(opacity[floating].median()) < 0.5
    assert float(opacity[~floating].median()) == 1


def test_a_picture_of_another_place_is_named() -> None:
    torch.manual_seed(0)
    room = film(7).part([0, 2, 4, 6])
    foreign = replace(room.pictures[3], image=torch.randint_like(room.pictures[3].image, 256))
    pictures = [*room.pictures[:3], foreign]
    found = match_cameras(*_predicted(room), pictures, MatchedCameraSettings(mode="cameras"))
    assert found.taken and found.loose == (3,)


def test_given_intrinsics_stay(room: FilmedRoom) -> None:
    gaussians, cameras, confidence = _predicted(room)
    scale = float(room.pictures[0].network_from_working[0, 0])
    right = cameras.intrinsics.clone()
    right[:, 0, 0] = right[:, 1, 1] = scale * room.focal
    told = Cameras(cameras.camera_to_world, right)
    found = match_cameras(gaussians, told, confidence, room.pictures, SETTINGS, known_intrinsics=True)
    assert found.taken
    torch.testing.assert_close(found.cameras.intrinsics, right, atol=1e-3, rtol=0)


def test_a_turned_camera_carries_its_gaussians_rigidly() -> None:
    """Without another focal length or depth, what follows a camera is what a similarity does to it."""
    torch.manual_seed(1)
    gaussians = Gaussians(
        torch.rand(1, 8, 3) + torch.tensor([0.0, 0.0, 2.0]),
        torch.rand(1, 8, 3),
        torch.randn(1, 8, 4),
        torch.rand(1, 8),
        torch.rand(1, 8, 4, 3),
    )
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    pose = make_transform(turn * turn.det(), torch.tensor([0.3, -0.2, 0.1]))
    intrinsics = torch.tensor([[[50.0, 0, 31.5], [0, 50.0, 31.5], [0, 0, 1]]])
    old, new = Cameras(torch.eye(4)[None], intrinsics), Cameras(pose[None], intrinsics)
    followed, expected = follow_cameras(gaussians, old, new, torch.ones(1, 8)), gaussians.transform(pose)
    torch.testing.assert_close(followed.means, expected.means, atol=1e-5, rtol=0)
    torch.testing.assert_close(followed.covariances(), expected.covariances(), atol=1e-5, rtol=0)
    torch.testing.assert_close(followed.harmonics, expected.harmonics, atol=1e-5, rtol=0)
    # A longer focal length leaves the footprint in pixels, so sizes shrink with it.
    longer = Cameras(torch.eye(4)[None], intrinsics * torch.tensor([2.0, 2.0, 1.0])[:, None].clamp_min(1))
    longer.intrinsics[:, :2, 2] = 31.5
    near = follow_cameras(gaussians, old, longer, torch.full((1, 8), 3.0))
    torch.testing.assert_close(near.scales, 1.5 * gaussians.scales)
    torch.testing.assert_close(near.means[..., 2], 3 * gaussians.means[..., 2])
    torch.testing.assert_close(near.means[..., :2], 1.5 * gaussians.means[..., :2])


def _is_kept(found: MatchedCameras, given: tuple[Gaussians, Cameras, Tensor]) -> bool:
    same = torch.equal(found.gaussians.means, given[0].means)
    return same and torch.equal(found.cameras.camera_to_world, given[1].camera_to_world) and not found.taken


def _first(given: tuple[Gaussians, Cameras, Tensor], count: int) -> tuple[Gaussians, Cameras, Tensor]:
    gaussians, cameras, confidence = given
    return gaussians.take(torch.arange(confidence[:count].numel())), cameras[:count], confidence[:count]


def test_off_changes_nothing(room: FilmedRoom) -> None:
    given = _predicted(room)
    found = match_cameras(*given, room.pictures, MatchedCameraSettings(mode="off"))
    assert _is_kept(found, given) and "switched off" in found.verdict.sentence()


def test_a_single_picture_is_kept(room: FilmedRoom) -> None:
    given = _first(_predicted(room), 1)
    found = match_cameras(*given, room.pictures[:1], SETTINGS)
    assert _is_kept(found, given) and "single picture" in found.verdict.reason


def test_a_view_without_a_pose_keeps_all_cameras(room: FilmedRoom) -> None:
    gaussians, cameras, confidence = _predicted(room)
    cameras.camera_to_world[1] = torch.nan
    found = match_cameras(gaussians, cameras, confidence, room.pictures, SETTINGS)
    assert not found.taken and "1 of 3" in found.verdict.reason
    torch.testing.assert_close(found.gaussians.means, gaussians.means)


def test_a_pair_is_a_result_without_confirmed_points(room: FilmedRoom) -> None:
    found = match_cameras(*_first(_predicted(room), 2), room.pictures[:2], SETTINGS)
    assert found.verdict.confirmed is None and found.verdict.reason


@pytest.mark.parametrize("kind", ["textureless", "identical", "unrelated"])
def test_pictures_that_say_nothing_leave_the_cameras(room: FilmedRoom, kind: str) -> None:
    def changed(index: int, picture: Picture) -> Picture:
        if kind == "textureless":
            return replace(picture, image=torch.full_like(picture.image, 127))
        if kind == "identical":
            return replace(picture, image=room.pictures[0].image)
        torch.manual_seed(index)
        return replace(picture, image=torch.randint_like(picture.image, 256))

    given = _predicted(room)
    found = match_cameras(*given, [changed(*item) for item in enumerate(room.pictures)], SETTINGS)
    assert _is_kept(found, given)
    assert "cameras kept as the network had them" in found.verdict.reason


def test_without_pycolmap_the_cameras_stay_and_the_reason_is_told(
    room: FilmedRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)  # importing it fails
    given = _predicted(room)
    found = match_cameras(*given, room.pictures, SETTINGS)
    assert _is_kept(found, given) and "needs pycolmap" in found.verdict.sentence()
