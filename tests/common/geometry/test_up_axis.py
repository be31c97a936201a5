"""The vertical is found from the attitudes of the cameras."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from common.geometry.up_axis import find_up, level_direction


def looking(azimuths: np.ndarray, pitch: float) -> np.ndarray:
    """Level cameras in a world whose y is down, turned about it and then tilted, in degrees."""
    poses = np.tile(np.eye(4), (len(azimuths), 1, 1))
    angles = np.stack([azimuths, np.full(len(azimuths), pitch)], axis=1)
    poses[:, :3, :3] = Rotation.from_euler("YX", angles, degrees=True).as_matrix()
    return poses


def test_cameras_that_look_down_all_the_way_do_not_tilt_the_world() -> None:
    up = find_up(looking(np.linspace(0, 50, 12), -40))
    np.testing.assert_allclose(up, [0, -1, 0], atol=1e-9)
    images_own = -looking(np.linspace(0, 50, 12), -40)[:, :3, 1].mean(axis=0)
    assert np.degrees(np.arccos(-images_own[1] / np.linalg.norm(images_own))) > 30, "the mean of the images is far off"


def test_it_turns_with_the_world() -> None:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    np.testing.assert_allclose(find_up(turn @ looking(np.linspace(-60, 60, 9), 20)), -turn[:3, 1], atol=1e-9)


def test_cameras_that_do_not_turn_say_it_by_their_pictures() -> None:
    poses = looking(np.zeros(5), -10)
    np.testing.assert_allclose(find_up(poses), -poses[0, :3, 1])


def test_a_shaky_hand_hardly_matters() -> None:
    poses = looking(np.linspace(0, 90, 30), -30)
    roll = Rotation.from_rotvec(np.random.default_rng(0).normal(0, 0.03, (30, 1)) * [0, 0, 1]).as_matrix()
    poses[:, :3, :3] = poses[:, :3, :3] @ roll
    assert np.degrees(np.arccos(find_up(poses) @ [0, -1, 0])) < 3


def test_the_viewer_stands_behind_what_most_cameras_see() -> None:
    poses = looking(np.linspace(0, 120, 9), -30)
    level = level_direction(poses, np.array([0.0, -1, 0]))
    np.testing.assert_allclose(level, looking(np.array([60.0]), 0)[0, :3, 2], atol=1e-9)


def test_where_cameras_look_all_round_the_first_one_counts() -> None:
    poses = looking(np.arange(0.0, 360, 30), -30)
    np.testing.assert_allclose(level_direction(poses, np.array([0.0, -1, 0])), [0, 0, 1], atol=1e-9)


def test_cameras_that_look_straight_down_still_give_a_level_direction() -> None:
    level = level_direction(looking(np.zeros(3), -90), np.array([0.0, -1, 0]))
    assert abs(level[1]) < 1e-9 and abs(np.linalg.norm(level) - 1) < 1e-9
