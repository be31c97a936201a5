"""Measured depths: they set the unit, bend the prediction, spread to their surroundings, and vouch for blank walls."""

from __future__ import annotations

import torch

from common.refinement.dense.given_depth import measured_prediction, spread_given, vouched
from common.refinement.dense.refine_depth import refine_depth
from common.refinement.dense.settings import DepthGridSettings
from tests.support.dense_scene import dense_scene, error


def some(depth: torch.Tensor, share: float) -> torch.Tensor:
    chosen = torch.rand(depth.shape, generator=torch.Generator().manual_seed(3)) < share
    return torch.where(chosen, depth, 0.0)


def test_a_prediction_takes_unit_and_shape_of_what_was_measured() -> None:
    scene = dense_scene()
    given = some(1000 * scene.depth, 0.02)
    given[3] = 0  # a frame without a map
    result = measured_prediction(scene.prediction, given, DepthGridSettings())
    kept = torch.tensor([0, 1, 2, 4, 5, 6])
    assert error(result.depth[kept], 1000 * scene.depth[kept]) < 0.3 * error(scene.prediction.depth, scene.depth)
    assert 300 < float((result.depth[3] / scene.depth[3]).median()) < 3000
    assert torch.equal(result.depth[given > 0], given[given > 0])
    before, after = (p.camera_to_world[:, :3, 3].norm(dim=1) for p in (scene.prediction, result))
    ratio = (after / before)[before > 0]
    assert float(ratio.std()) < 1e-2 * float(ratio.mean())


def test_measured_depth_spreads() -> None:
    scene = dense_scene()
    wrong = scene.prediction.depth
    few, many = (spread_given(wrong, some(scene.depth, share)) for share in (0.005, 0.1))
    assert error(many, scene.depth) < error(few, scene.depth) < 0.5 * error(wrong, scene.depth)
    assert torch.equal(spread_given(wrong, torch.zeros_like(wrong)), wrong)


def test_the_search_is_better_with_it_and_a_wrong_measurement_is_overruled() -> None:
    scene = dense_scene()
    plain = refine_depth(scene.pictures, scene.prediction, scene.refined)
    given = some(scene.depth, 0.05)
    helped = refine_depth(scene.pictures, scene.prediction, scene.refined, given=given)
    assert error(helped.depth, scene.depth) < 0.7 * error(plain.depth, scene.depth)
    assert helped.confirmed.sum() > plain.confirmed.sum()
    assert error(helped.depth, scene.depth, given > 0) < 0.02


def test_only_agreeing_depth_is_vouched_for() -> None:
    depth, given = torch.tensor([[[1.0, 1.0, 1.0]]]), torch.tensor([[[0.0, 1.01, 1.2]]])
    correlation = torch.full_like(depth, 0.2)
    torch.testing.assert_close(vouched(correlation, depth, given, 0.03), torch.tensor([[[0.2, 1.0, 0.2]]]))
