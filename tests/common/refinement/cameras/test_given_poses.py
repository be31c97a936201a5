"""Poses that were measured: kept, adjusted within their deviation, completed where some are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from common.geometry.alignment import umeyama
from common.refinement.cameras.refine_cameras import refine_cameras
from common.refinement.given import Given
from common.refinement.projection import project
from common.refinement.types import Camera, RefinedCameras
from tests.support.filmed_room import FilmedRoom


@pytest.fixture(scope="module")
def short(room: FilmedRoom) -> FilmedRoom:
    return room.part(list(range(6)))


def refined(room: FilmedRoom, given: Given, lens_is_known: bool = True) -> RefinedCameras:
    height, width = room.pictures[0].size
    camera = Camera(room.focal, room.focal, (width - 1) / 2, (height - 1) / 2, (height, width))
    return refine_cameras(room.pictures, room.prediction, cameras=[camera] if lens_is_known else None, given=given)


def offsets(poses: Tensor, room: FilmedRoom) -> Tensor:
    """(N,) metres between camera centres and the true ones, in the same world."""
    return (poses[:, :3, 3].double() - room.camera_to_world[:, :3, 3]).norm(dim=1)


def shaken(room: FilmedRoom, metres: float, degrees: float) -> Tensor:
    rng, poses = np.random.default_rng(0), room.camera_to_world.clone()
    turns = Rotation.from_rotvec(rng.normal(0, np.radians(degrees), (len(poses), 3))).as_matrix()
    poses[:, :3, :3] = torch.from_numpy(turns) @ poses[:, :3, :3]
    poses[:, :3, 3] += torch.from_numpy(rng.normal(0, metres, (len(poses), 3)))
    return poses


def test_fixed_poses_stay_and_points_follow(short: FilmedRoom) -> None:
    moved = short.camera_to_world.clone()  # a world of its own: turned, moved, in millimetres
    turn = torch.from_numpy(Rotation.from_euler("xyz", [20, 130, -40], degrees=True).as_matrix())
    moved[:, :3, :3] = turn @ moved[:, :3, :3]
    moved[:, :3, 3] = 1000 * (moved[:, :3, 3] @ turn.T) + 500
    result = refined(short, Given(moved))
    assert result.evidence.refined and result.connected.all() and result.evidence.error_after < 0.5
    torch.testing.assert_close(result.placed.double(), moved, atol=1e-3, rtol=1e-6)
    centre = result.placed[result.tracks.frame, :3, 3]
    axis = result.placed[result.tracks.frame, :3, 2]
    depth = ((result.tracks.point[result.tracks.point_index] - centre) * axis).sum(-1) / 1000
    x, y = result.tracks.xy.round().long().unbind(-1)
    truth = short.depth[result.tracks.frame, y.clamp(0, 239), x.clamp(0, 319)]
    assert len(depth) > 200 and float((depth / truth - 1).abs().median()) < 0.01


def test_a_prior_lets_wrong_poses_go_back(short: FilmedRoom) -> None:
    wrong = shaken(short, 0.02, 1.0)
    kept, adjusted = refined(short, Given(wrong)), refined(short, Given(wrong, sigma=0.02))
    assert kept.evidence.error_after > 5 * adjusted.evidence.error_after
    assert adjusted.evidence.error_after < 0.5
    assert offsets(adjusted.placed, short).mean() < 0.7 * offsets(wrong, short).mean()
    # The unit is that of the given path as a whole, and points move with the poses.
    to_given = umeyama(adjusted.placed[:, :3, 3].double(), wrong[:, :3, 3])
    assert float(torch.linalg.det(to_given[:3, :3])) ** (1 / 3) == pytest.approx(1, abs=0.01)
    tracks = adjusted.tracks
    poses = adjusted.placed[tracks.frame].double()
    local = (poses[:, :3, :3].mT @ (tracks.point[tracks.point_index] - poses[:, :3, 3])[..., None])[..., 0]
    assert float((project(adjusted.cameras[0], local) - tracks.xy).norm(dim=1).median()) < 0.5


def test_missing_poses_and_lens_are_found(short: FilmedRoom) -> None:
    part = short.camera_to_world.clone()
    part[2] = torch.nan
    part[4, 0, 0] = torch.inf
    result = refined(short, Given(part), lens_is_known=False)
    assert result.connected.all() and offsets(result.placed, short).max() < 0.01
    assert result.cameras[0].focal == pytest.approx(short.focal, rel=0.01)


def test_blank_pictures_take_the_poses_all_the_same(short: FilmedRoom) -> None:
    part = short.part([0, 1, 2])
    blank = replace(part, pictures=[replace(item, image=torch.full_like(item.image, 100)) for item in part.pictures])
    result = refined(blank, Given(blank.camera_to_world))
    torch.testing.assert_close(result.placed.double(), blank.camera_to_world, atol=1e-6, rtol=0)
    assert not len(result.tracks.point) and not np.isfinite(result.evidence.error_after)
    assert bool(torch.isfinite(result.depth_scale).all())


def test_poses_of_one_place_are_refused(short: FilmedRoom) -> None:
    with pytest.raises(ValueError, match="at different places"):
        Given(torch.eye(4).double().repeat(3, 1, 1))
    with pytest.raises(ValueError, match=r"camera_to_world: expected \(6, 4, 4\), got \(5, 4, 4\)"):
        Given(short.camera_to_world[:5]).check(6, (2, 2))
