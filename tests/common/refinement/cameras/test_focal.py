"""Focal lengths by the vote of fundamental matrices."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.refinement.cameras.focal import estimate_focals
from common.refinement.matching.pair_matching import PairMatches
from common.refinement.settings import FocalSettings
from common.refinement.types import Camera

ROWS = np.zeros((100, 2), dtype=np.int64)
NONE = np.zeros((0, 2), dtype=np.int64)


def camera(focal: float, known: bool = False) -> Camera:
    return Camera(focal, focal, 319.5, 239.5, (480, 640), known=known)


def pairs(frame_focal: list[float], noise: float = 0.0) -> list[PairMatches]:
    """The fundamental matrix of every pair of frames that look about at random; with some relative noise."""
    rng = np.random.default_rng(0)
    rotations = Rotation.from_rotvec(rng.normal(0, 0.3, (len(frame_focal), 3))).as_matrix()
    centres = rng.normal(0, 1, (len(frame_focal), 3))
    found = []
    for first in range(len(frame_focal)):
        for second in range(first + 1, len(frame_focal)):
            x, y, z = rotations[second].T @ (centres[first] - centres[second])
            essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotations[second].T @ rotations[first]
            left, right = (np.linalg.inv(camera(frame_focal[frame]).matrix.numpy()) for frame in (first, second))
            fundamental = right.T @ essential @ left
            fundamental *= 1 + rng.normal(0, noise, (3, 3))
            found.append(PairMatches(first, second, ROWS, fundamental, NONE))
    return found


@pytest.mark.parametrize("focal", [350.0, 600.0, 1100.0])
def test_one_camera(focal):
    found, votes = estimate_focals([camera(500.0)], [0] * 6, pairs([focal] * 6, 1e-3), FocalSettings())

    assert found[0].focal == pytest.approx(focal, rel=0.02)
    assert votes[0].decided and votes[0].pairs == 15


def test_several_cameras_in_one_folder():
    frame_camera, focals = [0, 0, 0, 0, 1, 1, 1], [500.0, 900.0]
    matches = pairs([focals[index] for index in frame_camera])

    found, _ = estimate_focals([camera(700.0), camera(700.0)], frame_camera, matches, FocalSettings())

    assert [item.focal for item in found] == [pytest.approx(focal, rel=0.01) for focal in focals]


def test_a_single_picture_of_another_camera_is_found_through_the_rest():
    frame_camera, focals = [0, 0, 0, 0, 1], [500.0, 900.0]
    matches = pairs([focals[index] for index in frame_camera])

    found, _ = estimate_focals([camera(700.0), camera(700.0)], frame_camera, matches, FocalSettings())

    assert found[1].focal == pytest.approx(900.0, rel=0.01)


def test_a_third_of_wrong_pairs_does_not_matter():
    matches = pairs([600.0] * 6)
    rng = np.random.default_rng(1)
    wrong = [PairMatches(pair.first, pair.second, ROWS, rng.normal(size=(3, 3)), NONE) for pair in matches[::3]]

    found, _ = estimate_focals([camera(400.0)], [0] * 6, matches + wrong, FocalSettings())

    assert found[0].focal == pytest.approx(600.0, rel=0.01)


def test_known_cameras_and_pairs_without_a_fundamental_matrix_change_nothing():
    planar = [PairMatches(pair.first, pair.second, ROWS, None, NONE) for pair in pairs([600.0] * 4)]

    known, _ = estimate_focals([camera(450.0, known=True)], [0] * 4, pairs([600.0] * 4), FocalSettings())
    undecided, votes = estimate_focals([camera(450.0)], [0] * 4, planar, FocalSettings())

    assert known[0].focal == undecided[0].focal == 450.0
    assert not votes[0].decided
