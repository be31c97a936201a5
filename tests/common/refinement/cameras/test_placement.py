"""Linear placement by the network's depth."""

import numpy as np
import pytest
import torch

from common.refinement.cameras.placement import FeatureGeometry, place, sample_depth
from common.refinement.cameras.rotations import RelativePose
from common.refinement.settings import PlacementSettings
from tests.support.filmed_room import path_error, picture


def scene(outliers: float = 0.0) -> tuple[np.ndarray, list[RelativePose], list[FeatureGeometry], np.ndarray]:
    """Eight cameras that see 200 points; depths are 3 % wrong and each camera has a scale of its own."""
    rng = np.random.default_rng(0)
    points = rng.uniform([-2, -2, 3], [2, 2, 6], (200, 3))
    poses = np.tile(np.eye(4), (8, 1, 1))
    poses[:, :3, 3] = np.cumsum(rng.normal(0, 0.3, (8, 3)), axis=0)
    scale = np.exp(rng.normal(0, 0.3, 8))
    geometry = []
    for pose, factor in zip(poses, scale):
        local = points - pose[:3, 3]
        depth = local[:, 2] * np.exp(rng.normal(0, 0.03, 200))
        depth[rng.random(200) < outliers] *= 2
        geometry.append(FeatureGeometry(local / local[:, 2:], depth / factor))
    rows = np.stack([np.arange(200)] * 2, axis=1)
    pairs = [RelativePose(a, b, np.eye(3), rows, 5.0) for a in range(8) for b in range(a + 1, min(a + 3, 8))]
    return poses, pairs, geometry, scale


@pytest.mark.parametrize(("outliers", "error"), [(0.0, 0.05), (0.15, 0.06)])
def test_positions_and_scales(outliers, error):
    poses, pairs, geometry, scale = scene(outliers)

    placement = place(poses[:, :3, :3], pairs, geometry, PlacementSettings())

    assert path_error(torch.from_numpy(placement.camera_to_world), torch.from_numpy(poses)) < error
    ratio = placement.scale / scale
    assert ratio / np.median(ratio) == pytest.approx(np.ones(8), rel=0.06)
    assert placement.residual < 0.06


def test_a_frame_without_matches_or_depth_has_no_place():
    poses, pairs, geometry, _ = scene()
    geometry[7] = FeatureGeometry(geometry[7].rays, np.full(200, np.nan))

    placement = place(poses[:, :3, :3], pairs, geometry, PlacementSettings())

    assert np.isfinite(placement.camera_to_world).all(axis=(1, 2)).tolist() == [True] * 7 + [False]
    nothing = place(poses[:, :3, :3], [], geometry, PlacementSettings())
    assert np.isnan(nothing.camera_to_world).all()


def test_depth_is_taken_from_the_nearest_network_pixel():
    small = picture(torch.zeros(3, 8, 8, dtype=torch.uint8))  # a network grid of 4 x 4
    depth = torch.arange(1.0, 17).reshape(4, 4)
    valid = torch.ones(4, 4, dtype=torch.bool)
    valid[3, 3] = False

    sampled = sample_depth(np.array([[0.5, 0.5], [2.4, 0.5], [0.5, 4.6], [7.0, 7.0], [-3.0, 2.0]]), small, depth, valid)

    assert sampled[:3].tolist() == [1.0, 2.0, 9.0]
    assert np.isnan(sampled[3:]).all()
