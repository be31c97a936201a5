"""The linear head: parity, its pixel layout, and portraits that are stored transposed."""

from __future__ import annotations

import pytest
import torch

from common.backbone import PatchGrid
from common.heads import LinearHead
from common.heads.activations import activate
from tests.support.parity import assert_close, header, image_to_points, vectors


@torch.no_grad()
@pytest.mark.parametrize(("role", "number"), [("reference", 1), ("source", 2)])
def test_points_and_confidences_are_the_published_ones(role: str, number: int) -> None:
    golden = vectors("linear_head")
    height, width = header("linear_head")["image_size"]
    head = getattr(image_to_points("linear_head"), f"{role}_head")
    patch = image_to_points("linear_head").encoder.patch_embed.patch_size
    pointmaps = activate(head([golden["tokens"][:, None]], PatchGrid(height // patch, width // patch)))[:, 0]
    assert_close(pointmaps.points, golden[f"points_{number}"])
    assert_close(pointmaps.confidence, golden[f"confidence_{number}"])


@torch.no_grad()
def test_output_channels_are_value_then_row_then_column_of_the_patch() -> None:
    head = LinearHead(width=1, patch_size=4, channels=3)
    head.projection.weight.zero_()
    head.projection.bias.copy_(torch.arange(48.0))
    raw = head([torch.zeros(1, 1, 6, 1)], PatchGrid(2, 3))
    assert raw.shape == (1, 1, 8, 12, 3)
    for row, column, value in ((0, 0, 0), (1, 2, 0), (5, 11, 2)):
        assert raw[0, 0, row, column, value] == value * 16 + row % 4 * 4 + column % 4


@torch.no_grad()
def test_a_mixed_batch_comes_back_in_the_stored_layout() -> None:
    head = LinearHead(width=8, patch_size=4)
    tokens = torch.randn(2, 3, 6, 8)
    mixed = head([tokens], PatchGrid(2, 3, torch.tensor([False, True])))
    assert torch.equal(mixed[0], head([tokens[:1]], PatchGrid(2, 3))[0])
    assert torch.equal(mixed[1], head([tokens[1:]], PatchGrid(3, 2))[0].transpose(1, 2))


@torch.no_grad()
def test_the_head_is_float32_also_under_autocast() -> None:
    head = LinearHead(width=8, patch_size=4)
    tokens = torch.randn(1, 1, 6, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head([tokens], PatchGrid(2, 3))
    assert torch.equal(inside, head([tokens], PatchGrid(2, 3)))
