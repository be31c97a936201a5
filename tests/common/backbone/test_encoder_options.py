"""The encoder beyond CroCo: class token, registers, position tables and the streams of chosen blocks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from common.backbone import Encoder, PatchGrid, PositionTable
from tests.support.parity import ROUNDING, assert_close, procedural_frames


def _vit(**options) -> Encoder:
    torch.manual_seed(0)
    return Encoder(16, 3, 2, 16, rope_base=None, class_token=True, table_side=3, **options).eval()


@torch.no_grad()
@pytest.mark.parametrize("resize", ["bicubic", "bilinear"])
def test_a_table_serves_as_it_is_on_its_own_grid_and_is_resized_elsewhere(resize: str) -> None:
    table = PositionTable(8, 3, resize=resize)
    cells = table.entries[:, 1:]
    assert torch.equal(table.patch_entries(PatchGrid(3, 3)), cells)
    assert torch.equal(table.class_entry(), table.entries[:, :1])
    image = cells.mT.reshape(1, 8, 3, 3)
    expected = F.interpolate(image, (2, 4), mode=resize, antialias=resize == "bicubic")
    torch.testing.assert_close(table.patch_entries(PatchGrid(2, 4)), expected.flatten(2).mT)


@torch.no_grad()
def test_a_portrait_stored_transposed_reads_the_table_upright() -> None:
    encoder = Encoder(16, 2, 2, rope_base=None, table_side=3).eval()
    portrait = procedural_frames(1, 48, 32)
    stored, _ = encoder(portrait.transpose(-1, -2), torch.tensor([True]))
    assert_close(stored, encoder(portrait)[0], ROUNDING)


@torch.no_grad()
def test_streams_of_chosen_blocks_hold_class_token_and_registers() -> None:
    encoder = _vit(num_registers=4, layer_scale=1.0, final_norm=True)
    images = procedural_frames(2, 32, 48)
    levels, grid = encoder.forward_levels(images, (2, 0))
    assert [level.shape for level in levels] == [(2, 5 + 6, 16)] * 2
    tokens, _ = encoder(images)
    assert_close(encoder.norm(levels[0][:, 5:]), tokens, ROUNDING)
    # The first block on tokens put together by hand.
    patches, _ = encoder.patch_embed(images)
    table = encoder.position_table
    first = (encoder.class_token + table.class_entry()).expand(2, -1, -1)
    sequence = torch.cat([first, encoder.registers.expand(2, -1, -1), patches + table.patch_entries(grid)], dim=1)
    assert_close(levels[1], encoder.blocks[0](sequence), ROUNDING)
    with pytest.raises(ValueError, match=r"blocks from 0 to 2, got \[3\]"):
        encoder.forward_levels(images, [3])


def test_rotary_positions_are_for_patches_only() -> None:
    with pytest.raises(ValueError, match="rotary positions are for patches only"):
        Encoder(16, 1, 1, class_token=True)


def test_recomputed_blocks_have_the_same_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        encoder = _vit(checkpointing=checkpointing).train()
        encoder(procedural_frames(1, 48, 48))[0].square().mean().backward()
        gradients.append(encoder.blocks[0].mlp.fc1.weight.grad)
    assert_close(gradients[1], gradients[0], ROUNDING)
