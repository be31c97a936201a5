"""The way back into the network's world."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from common.refinement.cameras.gauge import Similarity, depth_ratios, place_the_rest, world_alignment
from common.refinement.types import Tracks


def walk(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.1, (count, 3)), axis=0)).as_matrix()
    poses[:, :3, 3] = np.cumsum(rng.normal(0, 0.2, (count, 3)), axis=0)
    return poses


MOVE = Similarity(2.5, Rotation.from_euler("xyz", [20, -50, 100], degrees=True).as_matrix(), np.array([1.0, -2.0, 3.0]))


def test_a_similarity_is_undone():
    network = walk(20)

    found = world_alignment(MOVE.poses(network), network, np.full(20, 2.5))

    assert np.allclose(found.poses(MOVE.poses(network)), network)


def test_a_third_of_badly_wrong_frames_and_scales_does_not_matter():
    network, ratios = walk(21), np.full(21, 2.5)
    refined = MOVE.poses(network)
    refined[::3, :3, 3] += 10
    refined[::3, :3, :3] = Rotation.random(7, random_state=0).as_matrix()
    ratios[::4] = 9.0

    moved = world_alignment(refined, network, ratios).poses(refined)

    good = np.arange(21) % 3 != 0
    assert np.allclose(moved[good], network[good], atol=1e-3)


def test_without_depths_the_path_gives_the_scale():
    network = walk(20)

    assert world_alignment(MOVE.poses(network), network, np.full(20, np.nan)).scale == pytest.approx(1 / 2.5)


def test_frames_outside_keep_their_place_beside_their_neighbours():
    network = walk(12)
    refined = MOVE.poses(network)
    refined[[0, 4, 5, 11]] = np.nan

    placed, scale = place_the_rest(refined, network, np.where(np.isnan(refined[:, 0, 0]), np.nan, 2.5))

    assert np.allclose(placed, MOVE.poses(network))
    assert scale == pytest.approx(np.full(12, 2.5))


def test_frames_that_nobody_placed_stay_unplaced():
    network = walk(4)
    network[1] = np.nan
    refined = np.full((4, 4, 4), np.nan)

    placed, scale = place_the_rest(refined, network, np.full(4, np.nan))

    assert np.allclose(placed[[0, 2, 3]], network[[0, 2, 3]]) and np.isnan(placed[1]).all()
    assert scale.tolist() == [1, 1, 1, 1]


def test_depth_ratios_are_medians_of_frames_with_enough_points():
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, -1, 2], [1, 1, 4], (50, 3))
    frame = torch.tensor([0] * 50 + [1] * 5)
    index = torch.cat([torch.arange(50), torch.arange(5)])
    tracks = Tracks(torch.from_numpy(points).float(), frame, torch.zeros(55, 2), index)
    network = points[index, 2] / 3
    network[:10] = 50.0
    network[10:15] = np.nan

    ratios, spreads = depth_ratios(np.tile(np.eye(4), (3, 1, 1)), tracks, network, 10)

    assert ratios[0] == pytest.approx(3, rel=1e-5) and np.isnan(ratios[1:]).all()
    assert spreads[0] < 1e-5
