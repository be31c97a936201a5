"""Cameras: parity with the published code, and round trips between pixels and points."""

from __future__ import annotations

import pytest
import torch

from common.geometry.cameras import (
    colmap_from_opencv,
    depth_from_distance,
    make_intrinsics,
    opencv_from_colmap,
    pixel_grid,
    project,
    project_world,
    unproject_depth,
    unproject_to_world,
)
from tests.support.parity import assert_close, vectors


@pytest.fixture(scope="module")
def golden():
    return vectors("geometry")


@pytest.mark.parametrize("suffix", ["", "_distance"])
def test_parity_depth_maps(golden, suffix: str) -> None:
    depth, intrinsics, along_ray = golden["depthmap"], golden["intrinsics"], suffix == "_distance"
    assert_close(unproject_depth(depth, intrinsics, along_ray), golden["points_camera" + suffix])
    world = unproject_to_world(depth, intrinsics, golden["camera_pose"], along_ray)
    valid = golden["depth_valid"]
    torch.testing.assert_close(valid, depth > 0)
    assert_close(world[valid], golden["points_world" + suffix][valid])


def test_parity_projection(golden) -> None:
    points = golden["flat_points"].abs() + 0.1
    assert_close(project(points, golden["intrinsics"]), golden["projected"])


def test_parity_pixel_centres(golden) -> None:
    assert_close(colmap_from_opencv(golden["intrinsics"]), golden["colmap_from_opencv"])
    torch.testing.assert_close(opencv_from_colmap(golden["colmap_from_opencv"]), golden["intrinsics"])


def test_projection_undoes_unprojection() -> None:
    intrinsics = make_intrinsics(torch.tensor([30.0, 45.0]), torch.tensor([[9.0, 6.5], [11.0, 7.0]]))
    intrinsics[:, 0, 1] = 0.7  # skew
    depth = torch.rand(2, 14, 20) + 0.5
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[:, :3, 3] = torch.tensor([[1.0, 2, 3], [-1, 0, 2]])
    pixels, found = project_world(unproject_to_world(depth, intrinsics, pose), intrinsics, pose)
    torch.testing.assert_close(pixels, pixel_grid((14, 20)).expand(2, 14, 20, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(found, depth)


def test_distance_is_the_length_of_the_point() -> None:
    intrinsics = make_intrinsics(torch.tensor(20.0), torch.tensor([9.5, 6.5]))
    distance = torch.rand(14, 20) + 0.5
    points = unproject_depth(distance, intrinsics, along_ray=True)
    torch.testing.assert_close(points.norm(dim=-1), distance)
    torch.testing.assert_close(points[..., 2], depth_from_distance(distance, intrinsics))


def test_known_pixel() -> None:
    intrinsics = make_intrinsics(torch.tensor(100.0), torch.tensor([50.0, 40.0]))
    # 10 pixels right of the centre at focal 100 and 2 m: 0.2 m; 30 pixels below: 0.6 m.
    point = unproject_depth(torch.full((80, 100), 2.0), intrinsics)[70, 60]
    torch.testing.assert_close(point, torch.tensor([0.2, 0.6, 2.0]))
