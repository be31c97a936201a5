"""Scores with answers known from elsewhere: by hand, or by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.geometry.cameras import unproject_to_world
from common.geometry.overlap import view_overlap
from common.rooms import room_seed, room_video
from common.views import Views
from slam3r.evaluation.scene_score import area_under_curve, score_scene


@pytest.fixture(scope="module")
def room() -> Views:
    return room_video(room_seed("held_out", 0, 5), 6, 64)


def test_area_under_curve_by_hand() -> None:
    # Of the four (positive, negative) pairs, (0.35, 0.4) alone is in the wrong order.
    scores, positive = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True])
    assert area_under_curve(scores, positive) == pytest.approx(0.75)
    assert area_under_curve(torch.ones(4), positive) == pytest.approx(0.5)
    assert np.isnan(area_under_curve(scores, torch.ones(4, dtype=torch.bool)))


def test_overlap_of_a_wall_seen_from_two_places() -> None:
    # A wall at 2 m, 64 pixels, focal 32: the picture is 4 m wide, so a step of 1 m hides a quarter of it.
    intrinsics = torch.tensor([[32.0, 0, 31.5], [0, 32.0, 31.5], [0, 0, 1]]).expand(3, 3, 3)
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[1, 0, 3] = 1.0
    poses[2, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # looks away
    views = Views(torch.zeros(3, 3, 64, 64), torch.full((3, 64, 64), 2.0), poses, intrinsics)
    overlap = view_overlap(views, step=1)
    assert overlap[0, 0] == 1
    assert overlap[0, 1] == pytest.approx(0.75, abs=0.02)
    assert overlap[0, 2] == 0


def test_the_truth_in_another_frame_and_unit_scores_perfectly(room: Views) -> None:
    points = unproject_to_world(room.depth, room.intrinsics, room.camera_to_world).numpy()
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    moved = (points @ turn.T / 3 + [1, 2, 3]).astype(np.float32)
    poses = []
    for pose in room.camera_to_world.numpy():
        other = np.eye(4)
        other[:3, :3], other[:3, 3] = turn @ pose[:3, :3], turn @ pose[:3, 3] / 3 + [1, 2, 3]
        poses.append(other)
    poses[2] = None
    score = score_scene(moved, np.full(moved.shape[:3], 2.0), poses, room, 1.0, num_samples=20_000)
    # Both clouds are random samples reduced to voxels of 5 mm: a few millimetres to centimetres apart, no more.
    assert score.points.accuracy < 0.02
    assert score.accuracy_gain > 5
    assert score.trajectory_rmse < 1e-5
    assert (score.num_poses, score.num_frames) == (5, 6)


def test_the_constant_pointmap_gains_nothing_over_itself(room: Views) -> None:
    points = unproject_to_world(room.depth, room.intrinsics, room.camera_to_world).numpy()
    constant = np.broadcast_to(points.mean(axis=0), points.shape).copy()
    score = score_scene(constant, np.full(points.shape[:3], 2.0), [None] * 6, room, 1.0, num_samples=20_000)
    assert score.accuracy_gain < 2
    assert score.completeness_gain < 2
    assert np.isnan(score.trajectory_rmse)


def test_no_confident_point_is_an_error(room: Views) -> None:
    shape = room.depth.shape
    with pytest.raises(ValueError, match="confidence above 3"):
        score_scene(np.zeros((*shape, 3)), np.ones(shape), [None] * 6, room, 3.0)
