"""The DPT head: parity on an odd grid, which decoder levels it reads, and portraits that are stored transposed."""

from __future__ import annotations

import pytest
import torch

from common.backbone import PatchGrid
from common.heads import DPTHead, dpt_levels
from common.heads.activations import activate
from tests.support.parity import DPT_TOLERANCE, assert_close, header, image_to_points, vectors


@torch.no_grad()
def test_raw_values_points_and_confidences_are_the_published_ones() -> None:
    golden, info = vectors("dpt_head"), header("dpt_head")
    network = image_to_points("dpt_head")
    head, patch = network.reference_head, network.encoder.patch_embed.patch_size
    assert list(head.levels) == info["hooks"]
    streams = [torch.empty(0)] * (network.decoder.depth + 1)
    for level in info["hooks"]:
        streams[level] = golden[f"tokens_hook{level}"][:, None]
    height, width = info["image_size"]
    raw = head(streams, PatchGrid(height // patch, width // patch))[:, 0]
    assert_close(raw.permute(0, 3, 1, 2), golden["raw"], DPT_TOLERANCE)
    pointmaps = activate(raw)
    assert_close(pointmaps.points, golden["points"], DPT_TOLERANCE)
    assert_close(pointmaps.confidence, golden["confidence"], DPT_TOLERANCE)


def test_levels_are_spread_over_the_decoder() -> None:
    assert dpt_levels(12) == (0, 6, 9, 12)
    assert dpt_levels(10) == (0, 5, 7, 10)
    assert dpt_levels(4) == (0, 2, 3, 4)
    with pytest.raises(ValueError, match="at least 3 blocks, got 2"):
        dpt_levels(2)


@torch.no_grad()
def test_a_mixed_batch_comes_back_in_the_stored_layout() -> None:
    head = DPTHead((8, 8, 8, 8), level_channels=(4, 4, 4, 4), width=8, last_width=4, levels=dpt_levels(10))
    streams = [torch.randn(2, 1, 6, 8) for _ in range(11)]
    mixed = head(streams, PatchGrid(2, 3, torch.tensor([False, True])))
    assert mixed.shape == (2, 1, 32, 48, 4)
    torch.testing.assert_close(mixed[:1], head([s[:1] for s in streams], PatchGrid(2, 3)))
    turned = head([s[1:] for s in streams], PatchGrid(3, 2))
    torch.testing.assert_close(mixed[1:], turned.transpose(2, 3))
