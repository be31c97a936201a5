"""Relative poses and the averaging of their rotations."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from common.refinement.cameras.rotations import RelativePose, average_rotations, largest_part, relative_poses
from common.refinement.matching.backend import silence
from common.refinement.matching.features import extract
from common.refinement.matching.pair_matching import match_pairs
from common.refinement.settings import MatchingSettings, RotationSettings
from common.refinement.types import Camera
from tests.support.filmed_room import relative_rotation_error

ROWS = np.zeros((60, 2), dtype=np.int64)


def ring(count: int, wrong: set[tuple[int, int]] = frozenset()) -> tuple[np.ndarray, list[RelativePose]]:
    """Orientations, and relative poses of neighbours up to three apart with one degree of noise."""
    rng = np.random.default_rng(0)
    world = Rotation.random(count, random_state=0).as_matrix()
    poses = []
    for first in range(count):
        for second in range(first + 1, min(first + 4, count)):
            noise = Rotation.from_rotvec(rng.normal(0, np.radians(0.6), 3)).as_matrix()
            relative = noise @ world[second].T @ world[first]
            if (first, second) in wrong:
                relative = Rotation.random(random_state=first).as_matrix()
            poses.append(RelativePose(first, second, relative, ROWS, 5.0))
    return world, poses


def test_averaging_evens_out_noise_and_drops_wrong_pairs():
    wrong = {(2, 4), (7, 8), (10, 13)}
    world, poses = ring(20, wrong)

    with silence():
        rotations, agreeing = average_rotations(20, poses, RotationSettings())

    assert relative_rotation_error(torch.from_numpy(rotations), torch.from_numpy(world)) < 1.0
    assert {(pose.first, pose.second) for pose in poses} - {(pose.first, pose.second) for pose in agreeing} == wrong


def test_only_the_largest_part_gets_an_orientation():
    _, poses = ring(12)
    poses = [pose for pose in poses if (pose.first < 8) == (pose.second < 8)]

    with silence():
        rotations, agreeing = average_rotations(12, poses, RotationSettings())

    assert np.isfinite(rotations).all(axis=(1, 2)).tolist() == [True] * 8 + [False] * 4
    assert all(pose.second < 8 for pose in agreeing)


def test_without_pairs_no_frame_has_an_orientation():
    rotations, agreeing = average_rotations(3, [], RotationSettings())

    assert np.isnan(rotations).all() and agreeing == []
    assert not largest_part(3, []).any()


def test_relative_poses_of_real_features(room):
    settings = MatchingSettings()
    features = extract(room.pictures, settings)
    cameras = [Camera(room.focal, room.focal, 159.5, 119.5, (240, 320))] * 12
    pairs = [(first, first + step) for step in (1, 2) for first in range(12 - step)]
    with silence():
        poses = relative_poses(features, cameras, match_pairs(features, pairs, cameras, settings), settings)
    truth = room.camera_to_world[:, :3, :3].numpy()

    errors = [
        np.degrees(
            np.linalg.norm(Rotation.from_matrix(pose.rotation @ truth[pose.first].T @ truth[pose.second]).as_rotvec())
        )
        for pose in poses
    ]
    assert len(poses) > 15
    assert np.median(errors) < 1.0
    assert 0.3 < np.median([pose.parallax for pose in poses]) < 20


def test_a_camera_that_only_turned_has_no_parallax(room):
    features = extract([room.pictures[0]] * 2, MatchingSettings())
    cameras = [Camera(room.focal, room.focal, 159.5, 119.5, (240, 320))] * 2
    with silence():
        matches = match_pairs(features, [(0, 1)], cameras, MatchingSettings())
        (pose,) = relative_poses(features, cameras, matches, MatchingSettings())

    assert matches[0].fundamental is None
    assert pose.parallax == pytest.approx(0, abs=0.05)
    assert np.allclose(pose.rotation, np.eye(3), atol=1e-3)
