"""Trajectory errors with answers known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.metrics.trajectory import absolute_trajectory_error, associate, relative_pose_error


def walk(count: int = 30) -> np.ndarray:
    generator = np.random.default_rng(1)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=2).as_matrix()
    poses[:, :3, 3] = np.cumsum(generator.normal(size=(count, 3)), axis=0)
    return poses


def moved(poses: np.ndarray, scale: float) -> np.ndarray:
    """The same walk in another world frame and unit."""
    result = poses.copy()
    result[:, :3, 3] *= scale
    frame = np.eye(4)
    frame[:3, :3] = Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix()
    frame[:3, 3] = 4, 5, 6
    return frame @ result


def test_alignment_removes_what_it_may() -> None:
    truth = walk()
    error = absolute_trajectory_error(moved(truth, 0.25), truth)
    assert error.rmse == pytest.approx(0, abs=1e-9) and error.scale == pytest.approx(4)
    assert absolute_trajectory_error(moved(truth, 1), truth, "rigid").rmse == pytest.approx(0, abs=1e-9)
    assert absolute_trajectory_error(moved(truth, 0.25), truth, "rigid").rmse > 1
    assert absolute_trajectory_error(moved(truth, 1), truth, "none").rmse > 1


def test_known_absolute_error() -> None:
    truth = walk(4)
    estimate = truth.copy()
    estimate[:, :3, 3] += [[3, 0, 0], [0, 0, 0], [0, 4, 0], [0, 0, 0]]
    error = absolute_trajectory_error(estimate, truth, "none")
    assert error.rmse == pytest.approx(np.sqrt((9 + 16) / 4))
    assert (error.mean, error.median, error.maximum) == pytest.approx((7 / 4, 3 / 2, 4))


def test_alignment_is_the_best_one() -> None:
    generator = np.random.default_rng(0)
    truth = walk()
    estimate = moved(truth, 0.5)
    estimate[:, :3, 3] += 0.05 * generator.normal(size=(30, 3))
    best = absolute_trajectory_error(estimate, truth)
    for _ in range(20):
        nudge = np.eye(4)
        nudge[:3, :3] = Rotation.from_rotvec(1e-2 * generator.normal(size=3)).as_matrix()
        nudge[:3, :3] *= 1 + 1e-2 * generator.normal()
        nudge[:3, 3] = 1e-2 * generator.normal(size=3)
        other = nudge @ best.transform @ estimate
        assert absolute_trajectory_error(other, truth, "none").rmse >= best.rmse


def test_known_relative_error() -> None:
    truth = np.tile(np.eye(4), (5, 1, 1))
    truth[:, 0, 3] = np.arange(5)
    estimate = np.tile(np.eye(4), (5, 1, 1))
    estimate[:, 0, 3] = 0.6 * np.arange(5)  # every step of 1 is 1.2 after scaling by 2
    turns = np.radians(2) * np.arange(5)  # about the direction of motion
    estimate[:, :3, :3] = Rotation.from_rotvec(turns[:, None] * [1.0, 0, 0]).as_matrix()
    error = relative_pose_error(estimate, truth, scale=2)
    assert error.translation_rmse == pytest.approx(0.2)
    assert error.rotation_rmse == pytest.approx(2) and error.rotation_mean == pytest.approx(2)
    assert relative_pose_error(estimate, truth, step=2, scale=2).translation_rmse == pytest.approx(0.4)
    assert relative_pose_error(moved(truth, 1), truth).rotation_rmse == pytest.approx(0, abs=1e-6)


def test_unusable_input_is_refused() -> None:
    with pytest.raises(ValueError, match="estimated"):
        absolute_trajectory_error(walk(4), walk(5))
    with pytest.raises(ValueError, match="needs 3"):
        absolute_trajectory_error(walk(2), walk(2))
    with pytest.raises(ValueError, match="no pair"):
        relative_pose_error(walk(3), walk(3), step=3)


def test_timestamps_are_paired_one_to_one() -> None:
    first, second = np.array([0.0, 1.0, 1.01, 2.0, 5.0]), np.array([0.01, 1.012, 2.5, 4.995])
    left, right = associate(first, second, max_difference=0.02)
    assert left.tolist() == [0, 2, 4] and right.tolist() == [0, 1, 3]
    assert associate(first, np.empty(0))[0].size == 0
