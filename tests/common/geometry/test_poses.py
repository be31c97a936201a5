"""Focal lengths and poses: parity, recovery of the truth under noise and outliers, and explicit failure."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from common.geometry.cameras import make_intrinsics, unproject_depth, unproject_to_world
from common.geometry.poses import (
    PnpPose,
    PnpSettings,
    PoseFailure,
    focal_weiszfeld,
    pose_from_pnp,
    poses_from_pointmaps,
    shared_focal,
)
from common.geometry.transforms import apply_transform, make_transform, rotation_angle
from tests.support.parity import assert_close, vectors

AS_PUBLISHED = PnpSettings(max_pixels=None, refine=False)


@pytest.fixture(scope="module")
def golden():
    return vectors("geometry")


def degrees(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(rotation_angle(first[..., :3, :3].double(), second[..., :3, :3].double()))


def scene(count: int = 3, size: tuple[int, int] = (40, 48), focal: float = 50.0):
    """Wavy local pointmaps (V, H, W, 3), camera-to-world poses and intrinsics."""
    intrinsics = make_intrinsics(torch.tensor(focal), torch.tensor([size[1] / 2, size[0] / 2])).expand(count, 3, 3)
    y, x = torch.meshgrid(torch.linspace(0, 6, size[0]), torch.linspace(0, 9, size[1]), indexing="ij")
    depth = 2 + 0.5 * torch.sin(x + torch.arange(count)[:, None, None]) * torch.cos(y)
    poses = make_transform(roma.random_rotmat(count), torch.randn(count, 3))
    return unproject_depth(depth, intrinsics), poses, intrinsics


def test_parity_focal(golden) -> None:
    points = golden["focal_points"][None]
    assert_close(focal_weiszfeld(points), golden["focal_weiszfeld"])
    height, width = points.shape[1:3]
    centre = torch.tensor([width / 2, height / 2])
    assert_close(make_intrinsics(focal_weiszfeld(points), centre)[0], golden["focal_intrinsics"])


def test_parity_pnp(golden) -> None:
    result = pose_from_pnp(golden["pnp_points"], golden["pnp_intrinsics"], settings=AS_PUBLISHED)
    assert isinstance(result, PnpPose)
    assert_close(result.camera_to_world, golden["pnp_pose"])


def test_parity_pnp_without_noise(golden) -> None:
    intrinsics, pose = golden["pnp_intrinsics"].double(), golden["pnp_pose_true"].double()
    depth = 2 + torch.rand(golden["pnp_points"].shape[:2], dtype=torch.float64)
    for settings in (AS_PUBLISHED, PnpSettings()):
        result = pose_from_pnp(unproject_to_world(depth, intrinsics, pose), intrinsics, settings=settings)
        assert isinstance(result, PnpPose) and result.inlier_ratio == 1
        assert_close(result.camera_to_world, golden["pnp_pose_noise_free"])


def test_pnp_of_the_vector_is_near_the_truth(golden) -> None:
    result = pose_from_pnp(golden["pnp_points"], golden["pnp_intrinsics"])
    assert isinstance(result, PnpPose)
    truth = golden["pnp_pose_true"]
    assert float(degrees(result.camera_to_world, truth)) < 0.02
    assert float((result.camera_to_world - truth)[:3, 3].norm()) < 2e-3
    assert result.inlier_ratio == pytest.approx(0.9, abs=0.03)  # a tenth of the points are outliers


def test_focals_of_a_batch_and_with_masks() -> None:
    local, _, _ = scene()
    torch.testing.assert_close(focal_weiszfeld(local), torch.full((3,), 50.0))
    valid = torch.ones(local.shape[:-1], dtype=torch.bool)
    valid[:, :10] = False
    local[:, :10] = torch.nan
    torch.testing.assert_close(focal_weiszfeld(local, valid=valid), torch.full((3,), 50.0))


def test_shared_focal_withstands_bad_frames() -> None:
    local, _, _ = scene(7)
    local = local + 0.01 * torch.randn_like(local)
    local[2] = torch.randn_like(local[2])
    local[5] = 0
    assert float(shared_focal(local)) == pytest.approx(50, rel=0.01)
    nothing = torch.zeros(local.shape[:-1], dtype=torch.bool)
    assert math.isnan(float(shared_focal(local, valid=nothing)))


def test_pnp_with_outliers_is_deterministic() -> None:
    local, poses, intrinsics = scene()
    world = apply_transform(poses, local)
    outliers = torch.rand(world.shape[:-1]) < 0.3
    world[outliers] = 3 * torch.randn(int(outliers.sum()), 3)
    settings = PnpSettings(max_pixels=800, reprojection_error=3.0)
    for view in range(3):
        results = [pose_from_pnp(world[view], intrinsics[view], settings=settings) for _ in range(2)]
        assert all(isinstance(result, PnpPose) for result in results)
        torch.testing.assert_close(results[0].camera_to_world, results[1].camera_to_world, atol=0, rtol=0)
        assert float(degrees(results[0].camera_to_world, poses[view])) < 0.05
        torch.testing.assert_close(results[0].camera_to_world[:3, 3], poses[view, :3, 3], atol=2e-3, rtol=0)


def test_pnp_uses_only_valid_pixels() -> None:
    local, poses, intrinsics = scene(1)
    world = apply_transform(poses, local)[0]
    valid = torch.zeros(world.shape[:-1], dtype=torch.bool)
    valid[:12] = True
    world[12:] = torch.nan
    world[14:] = torch.randn_like(world[14:])
    result = pose_from_pnp(world, intrinsics[0], valid)
    assert isinstance(result, PnpPose) and result.inlier_ratio == 1
    torch.testing.assert_close(result.camera_to_world, poses[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["noise", "nothing valid", "one point", "not finite"])
def test_pnp_fails_openly(kind: str) -> None:
    points, valid = torch.randn(32, 32, 3), None
    if kind == "nothing valid":
        valid = torch.zeros(32, 32, dtype=torch.bool)
    if kind == "one point":
        points = torch.ones(32, 32, 3)
    if kind == "not finite":
        points = torch.full((32, 32, 3), torch.nan)
    intrinsics = make_intrinsics(torch.tensor(40.0), torch.tensor([16.0, 16.0]))
    result = pose_from_pnp(points, intrinsics, valid, PnpSettings(reprojection_error=2.0))
    assert isinstance(result, PoseFailure) and result.reason


def test_closed_form_recovers_poses() -> None:
    local, poses, _ = scene(4)
    scale = torch.tensor([0.3, 1.0, 2.0, 7.0])
    world = apply_transform(make_transform(scale[:, None, None] * poses[:, :3, :3], poses[:, :3, 3]), local)
    result = poses_from_pointmaps(local, world)
    assert result.found.all()
    torch.testing.assert_close(result.camera_to_world, poses, atol=2e-5, rtol=0)
    torch.testing.assert_close(result.scale, scale)
    assert (result.residual < 1e-5).all()


def test_closed_form_withstands_noise_and_outliers() -> None:
    local, poses, _ = scene(4)
    world = apply_transform(make_transform(1.7 * poses[:, :3, :3], poses[:, :3, 3]), local)
    world = world + 0.01 * torch.randn_like(world)
    outliers = torch.rand(world.shape[:-1]) < 0.3
    world[outliers] += torch.tensor([2.0, 1.0, 3.0]) + torch.randn(int(outliers.sum()), 3)  # biased, not only noisy
    result = poses_from_pointmaps(local, world, torch.rand(world.shape[:-1]) + 0.5)
    assert (degrees(result.camera_to_world, poses) < 0.1).all()
    torch.testing.assert_close(result.camera_to_world[:, :3, 3], poses[:, :3, 3], atol=5e-3, rtol=0)
    torch.testing.assert_close(result.scale, torch.full((4,), 1.7), atol=0, rtol=2e-3)


def test_closed_form_listens_to_confidence() -> None:
    local, poses, _ = scene(1)
    world = apply_transform(poses, local)
    world[:, :25] += 1.0  # most of the frame is wrong, and says so
    confidence = torch.ones(world.shape[:-1])
    confidence[:, :25] = 0
    result = poses_from_pointmaps(local, world, confidence)
    torch.testing.assert_close(result.camera_to_world, poses, atol=2e-5, rtol=0)


def test_closed_form_fails_openly() -> None:
    local, poses, _ = scene(4)
    world = apply_transform(poses, local)
    local[1] = 0  # nothing known
    world[2] = torch.nan
    world[3] = world[3, 0, 0]  # one point: no scale
    result = poses_from_pointmaps(local, world)
    assert result.found.tolist() == [True, False, False, False]
    assert result.camera_to_world[1:].isnan().all() and result.scale[1:].isnan().all()
    torch.testing.assert_close(result.camera_to_world[0], poses[0], atol=2e-5, rtol=0)
