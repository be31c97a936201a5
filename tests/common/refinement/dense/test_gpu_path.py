"""Dense refinement on a GPU gives what it gives on the CPU: pretended here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from common.refinement.assessment import check_depth
from common.refinement.dense.refine_depth import refine_depth
from common.refinement.dense.settings import DenseSettings
from tests.support.dense_scene import dense_scene
from tests.support.pretended_gpu import GPUS


@pytest.mark.parametrize("a_gpu", GPUS)
def test_the_search(a_gpu: Any) -> None:
    torch.set_num_threads(1)
    scene = dense_scene(frames=4, network=(64, 64), working=(64, 80))
    expected = refine_depth(scene.pictures, scene.prediction, scene.refined)
    with a_gpu() as gpu:
        actual = refine_depth(scene.pictures, scene.prediction, scene.refined, device=gpu)
    assert type(actual.depth) is torch.Tensor  # back where the prediction is
    assert (actual.depth / expected.depth - 1).abs().mean() < 1e-3
    assert (actual.confirmed != expected.confirmed).float().mean() < 0.01


@pytest.mark.parametrize("a_gpu", GPUS)
def test_the_check_where_the_prediction_is(a_gpu: Any) -> None:
    scene = dense_scene(frames=4, network=(64, 64), working=(64, 80))
    given = scene.prediction, scene.refined
    with a_gpu() as gpu:
        depth, valid = given[0].depth.to(gpu), given[0].valid.to(gpu)
        result = check_depth(
            scene.pictures, depth, valid, given[1].cameras, given[1].camera_to_world, DenseSettings(), given[1].tracks
        )
        assert result.confirmed.is_cuda
