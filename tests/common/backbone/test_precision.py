"""bfloat16 products: what changes type, what does not, and what it costs."""

from __future__ import annotations

import copy

import pytest
import torch

from common.backbone.precision import set_compute_dtype
from tests.support.parity import assert_close, image_to_points, procedural_frames, relative_error

BFLOAT16_TOLERANCE = 0.04
"""Largest error of points and confidences of the small network, filled by the weight rule, over their largest value.
bfloat16 has
8 bits of mantissa (0.4 % per product); 0.017 was seen here, 0.007 on photographs of 224 x 224."""


@pytest.fixture(scope="module")
def images():
    return procedural_frames(3, 64, 96)[None]


@torch.no_grad()
def predict(network, images):
    tokens, grid = network.encode(images)
    return network(tokens, grid, 0)


def test_results_stay_within_a_wider_bound(images) -> None:
    network = image_to_points("i2p")
    exact = predict(network, images)
    rounded = predict(set_compute_dtype(copy.deepcopy(network), torch.bfloat16), images)
    assert rounded.points.dtype == rounded.confidence.dtype == torch.float32
    for ours, expected in ((rounded.points, exact.points), (rounded.confidence, exact.confidence)):
        assert 1e-5 < relative_error(ours, expected) < BFLOAT16_TOLERANCE


def test_norms_patch_embedding_and_heads_stay_float32() -> None:
    network = set_compute_dtype(copy.deepcopy(image_to_points("i2p")), torch.bfloat16)
    state = network.state_dict()
    half = {name for name, value in state.items() if value.dtype == torch.bfloat16}
    assert not [name for name in half if "norm" in name or "head" in name or "patch_embed" in name]
    assert {"decoder.embed.weight", "encoder.blocks.0.mlp.fc1.weight"} <= half
    assert all(f"decoder.{s}_blocks.3.cross_attention.key.weight" in half for s in ("reference", "source"))


def test_float32_is_a_no_op(images) -> None:
    network = image_to_points("i2p")
    same = set_compute_dtype(copy.deepcopy(network), torch.float32)
    assert_close(predict(same, images).points, predict(network, images).points, 0)
