"""evo through our face: answers known by hand, and agreement with our own formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.metrics.trajectory import absolute_trajectory_error, relative_pose_error

pytest.importorskip("evo")
from common.metrics.evo_trajectory import score_trajectory


def walk(count: int = 40, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    poses[:, :3, 3] = np.cumsum(generator.normal(size=(count, 3)), axis=0)
    return poses


def test_another_frame_and_unit_cost_nothing() -> None:
    truth = walk()
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = Rotation.from_rotvec([0.3, -1, 2]).as_matrix(), (4, 5, 6)
    estimate = truth.copy()
    estimate[:, :3, 3] /= 2.5
    score = score_trajectory(frame @ estimate, truth, np.arange(40.0))
    assert score.ate_rmse == pytest.approx(0, abs=1e-9) and score.rpe_translation == pytest.approx(0, abs=1e-9)
    assert score.rpe_rotation == pytest.approx(0, abs=1e-5)
    assert score.scale == pytest.approx(2.5)
    steps = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1)
    assert score.path_length == pytest.approx(steps.sum())


def test_a_known_error() -> None:
    """A square whose corners are pushed out and in by turns about its plane: no alignment can help."""
    truth = np.tile(np.eye(4), (4, 1, 1))
    truth[:, :3, 3] = [[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]
    estimate = truth.copy()
    estimate[:, 2, 3] = [0.1, -0.1, 0.1, -0.1]
    score = score_trajectory(estimate, truth, np.arange(4.0), with_scale=False)
    assert (score.ate_rmse, score.ate_mean, score.ate_median, score.ate_max) == pytest.approx((0.1,) * 4)
    assert score.rpe_translation == pytest.approx(0.2)
    assert score.rpe_rotation == pytest.approx(0, abs=1e-6)


def test_agrees_with_our_own_formulas() -> None:
    truth, generator = walk(), np.random.default_rng(5)
    estimate = truth.copy()
    estimate[:, :3, 3] = 0.4 * estimate[:, :3, 3] + 0.05 * generator.normal(size=(40, 3))
    estimate[:, :3, :3] = estimate[:, :3, :3] @ Rotation.from_rotvec(0.02 * generator.normal(size=(40, 3))).as_matrix()
    score = score_trajectory(estimate, truth, np.arange(40.0))
    ate = absolute_trajectory_error(estimate, truth)
    rpe = relative_pose_error(estimate, truth, scale=ate.scale)
    assert (score.ate_rmse, score.ate_median, score.scale) == pytest.approx((ate.rmse, ate.median, ate.scale))
    assert score.rpe_translation == pytest.approx(rpe.translation_rmse)
    assert score.rpe_rotation == pytest.approx(rpe.rotation_rmse)
    assert np.sqrt((score.errors**2).mean()) == pytest.approx(ate.rmse)


def test_too_few_poses() -> None:
    with pytest.raises(ValueError, match="3 poses"):
        score_trajectory(walk(2), walk(2), np.arange(2.0))
