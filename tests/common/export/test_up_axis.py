"""Which way is up, from how the cameras were held."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from common.export.up_axis import find_up


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
