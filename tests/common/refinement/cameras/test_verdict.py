"""Evidence, and what is concluded from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from common.refinement.cameras.camera_verdict import judge, share_agreeing, share_connected, track_parallax
from common.refinement.matching.epipolar import epipolar_errors
from common.refinement.matching.features import Features
from common.refinement.matching.pair_matching import PairMatches
from common.refinement.projection import project
from common.refinement.settings import VerdictSettings
from common.refinement.types import Camera, CameraEvidence, Tracks

CAMERA = Camera(500.0, 500.0, 319.5, 239.5, (480, 640), 0.05)
GOOD = CameraEvidence(
    error_before=8.0,
    error_after=0.4,
    held_back=500,
    frames_connected=1.0,
    matches_connected=1.0,
    area_agreeing=0.9,
    parallax=6.0,
    focal_before=[450.0],
    focal_after=[500.0],
)


def pair_of_views(count: int = 100) -> tuple[list[Features], PairMatches, np.ndarray]:
    """Exact pixels of points in two pictures a step apart."""
    points = torch.rand(count, 3, dtype=torch.float64) * 2 + torch.tensor([-1, -1, 3], dtype=torch.float64)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, 3] = [0.4, 0.1, 0.05]
    pixels = [project(CAMERA, points - torch.from_numpy(pose[:3, 3])).numpy() for pose in poses]
    rows = np.stack([np.arange(count)] * 2, axis=1)
    features = [Features(xy, torch.zeros(count, 1)) for xy in pixels]
    return features, PairMatches(0, 1, rows, None, np.zeros((0, 2), dtype=np.int64)), poses


def test_matches_of_true_cameras_lie_on_their_lines():
    features, pair, poses = pair_of_views()

    assert epipolar_errors(features, [pair], [CAMERA] * 2, poses).max() < 1e-6


def test_errors_are_pixels_across_the_line():
    features, pair, poses = pair_of_views()
    poses[1, :3, 3] = [0.4, 0.0, 0.0]  # lines are rows
    straight = replace(CAMERA, k1=0.0)
    features[1] = Features(features[0].xy + [-30.0, 3.0], features[1].descriptors)

    assert epipolar_errors(features, [pair], [straight] * 2, poses) == pytest.approx(np.full(100, 3.0), rel=1e-3)


def test_two_cameras_on_one_point_are_compared_by_the_turned_point():
    features, pair, poses = pair_of_views()
    poses[1] = poses[0]
    straight = replace(CAMERA, k1=0.0)
    features[1] = Features(features[0].xy + [3.0, 4.0], features[1].descriptors)

    assert epipolar_errors(features, [pair], [straight] * 2, poses) == pytest.approx(np.full(100, 5.0))


def test_frames_without_a_pose_are_left_out():
    features, pair, poses = pair_of_views()
    poses[1] = np.nan

    assert len(epipolar_errors(features, [pair], [CAMERA] * 2, poses)) == 0


def test_area_counts_and_not_the_number_of_matches():
    features, pair, poses = pair_of_views(300)
    features[1].xy[features[0].xy[:, 0] > 319, 1] += 30  # the right half moves on its own
    many = np.concatenate([pair.rows, np.repeat(pair.rows[features[0].xy[:, 0] < 100], 50, axis=0)])
    pair = replace(pair, rows=many)

    share = share_agreeing(features, [pair], [CAMERA] * 2, poses, 2.0)

    assert 0.3 < share < 0.7
    assert share_agreeing(features, [replace(pair, rows=pair.rows[:0])], [CAMERA] * 2, poses, 2.0) == 0.0


def test_parallax_is_the_largest_angle_to_the_first_ray():
    point = torch.tensor([[0.0, 0.0, 1.0]])
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1, 0, 3] = 1.0  # 45 degrees; the third camera stands where the first does
    tracks = Tracks(point, torch.tensor([0, 1, 2]), torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))

    assert track_parallax(tracks, poses) == pytest.approx(45)
    assert np.isnan(track_parallax(Tracks.empty(), poses))


def test_better_cameras_are_taken_and_the_line_says_how_much():
    verdict = judge(GOOD, [CAMERA], VerdictSettings())

    assert verdict.refined
    assert "8.00 px before, 0.40 px after, 100% of the frames" in verdict.reason


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"frames_connected": 0.3}, "only 30% of the frames"),
        ({"frames_connected": 0.0}, "hardly anything could be triangulated"),
        ({"error_after": 7.9}, "after refinement is 7.90 px"),
        ({"error_before": 0.42}, "only from 0.42 to 0.40 px"),
        ({"error_after": float("nan")}, "no matches were left"),
        ({"parallax": 0.2}, "from one place"),
        ({"area_agreeing": 0.4}, "only 40% of the pictures' area"),
        ({"focal_after": [5000.0]}, "11.1 times the network's"),
    ],
)
def test_doubtful_cameras_are_not_taken_and_the_line_says_why(fault, words):
    verdict = judge(replace(GOOD, **fault), [CAMERA], VerdictSettings())

    assert not verdict.refined
    assert words in verdict.reason and "kept" in verdict.reason


def test_a_part_of_one_frame_is_none():
    assert share_connected(np.array([True, False])) == 0
    assert share_connected(np.array([True, True, False, False])) == 0.5


@pytest.mark.parametrize(
    ("before", "after", "taken"), [(8.0, 0.4, True), (1.2, 0.7, True), (8.0, 1.5, True), (4.0, 1.5, False)]
)
def test_a_poor_adjustment_must_gain_more(before: float, after: float, taken: bool):
    evidence = replace(GOOD, error_before=before, error_after=after)

    assert judge(evidence, [CAMERA], VerdictSettings()).refined is taken
