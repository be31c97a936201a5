"""Matches and their verification."""

import numpy as np
import torch

from common.refinement.matching.backend import silence
from common.refinement.matching.epipolar import epipolar_errors
from common.refinement.matching.features import Features, extract
from common.refinement.matching.pair_matching import match_pairs, mutual_matches
from common.refinement.settings import MatchingSettings
from common.refinement.types import Camera

SETTINGS = MatchingSettings()
CAMERA = Camera(300.0, 300.0, 159.5, 119.5, (240, 320))


def test_matches_are_mutual_and_clear():
    first = torch.eye(6)
    second = torch.eye(6)[[2, 0, 1, 3, 4]]
    second = torch.cat([second, torch.nn.functional.normalize(torch.eye(6)[4:5] + 0.05, dim=1)])  # 4 has a rival

    matches = mutual_matches(first, second, 0.8).tolist()

    assert matches == [[0, 1], [1, 2], [2, 0], [3, 3], [4, 4]]


def test_two_rivals_that_are_alike_make_no_match():
    first = torch.eye(3)
    second = torch.nn.functional.normalize(torch.eye(3)[[0, 0, 1]] + 0.2 * torch.eye(3)[[1, 2, 2]], dim=1)

    assert mutual_matches(first, second, 0.8).tolist() == [[1, 2]]


def test_verified_matches_lie_on_the_true_epipolar_lines(room):
    features = extract(room.pictures, SETTINGS)
    camera = Camera(room.focal, room.focal, 159.5, 119.5, (240, 320))
    with silence():
        matches = match_pairs(features, [(0, 1), (0, 4), (3, 6)], [camera] * 12, SETTINGS, seed=1)

    errors = epipolar_errors(features, matches, [camera] * 12, room.camera_to_world.numpy())
    assert [(pair.first, pair.second) for pair in matches] == [(0, 1), (0, 4), (3, 6)]
    assert np.median(errors) < 0.5 and np.quantile(errors, 0.9) < 2


def test_pictures_of_different_places_do_not_match(room, other_room):
    features = extract([room.pictures[0], other_room.pictures[0]], SETTINGS)
    with silence():
        assert match_pairs(features, [(0, 1)], [CAMERA] * 2, SETTINGS) == []


def plane(rng: np.random.Generator, count: int, x: tuple[float, float]) -> np.ndarray:
    return np.stack([rng.uniform(*x, count), rng.uniform(5, 235, count)], axis=1)


def test_the_motion_of_the_larger_area_wins_over_that_of_more_matches():
    rng = np.random.default_rng(0)
    busy, calm = plane(rng, 300, (5, 60)), plane(rng, 120, (80, 315))
    turn = np.array([[0.9, -0.4], [0.4, 0.9]])
    turned = (busy - [30, 120]) @ turn.T + [40, 110]  # a motion that no camera shares with the other one
    first = np.concatenate([busy, calm])
    second = np.concatenate([turned, calm * [1.1, 0.95] + [-8, 3]])
    unit = torch.nn.functional.normalize(torch.randn(420, 64, generator=torch.Generator().manual_seed(0)), dim=1).half()
    with silence():
        (pair,) = match_pairs([Features(first, unit), Features(second, unit)], [(0, 1)], [CAMERA] * 2, SETTINGS)

    assert (pair.rows[:, 0] >= 300).all() and len(pair.rows) > 95
    assert len(pair.rows) + len(pair.unverified) == 420
