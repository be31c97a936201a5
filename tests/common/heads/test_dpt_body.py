"""The options of the DPT body, one by one; the published heads are compared in the tests of their networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from common.heads import DPTBody
from common.heads.dpt import FusionBlock, ResidualUnit
from common.heads.position_map import position_map
from tests.support.parity import ROUNDING, assert_close


@torch.no_grad()
def test_the_skip_carries_the_input_or_what_is_positive_of_it() -> None:
    x = torch.randn(1, 4, 5, 5)
    plain, after = ResidualUnit(4), ResidualUnit(4, skip_after_activation=True)
    after.load_state_dict(plain.state_dict())
    torch.testing.assert_close(after(x) - plain(x), x.relu() - x)


def test_batch_norms_take_the_place_of_biases() -> None:
    unit = ResidualUnit(4, batch_norm=True)
    assert unit.conv1.bias is None and isinstance(unit.norm2, nn.BatchNorm2d)
    assert ResidualUnit(4).conv1.bias is not None


@torch.no_grad()
def test_mixing_channels_before_the_resize_is_the_same_as_after() -> None:
    block, path = FusionBlock(4, has_skip=False), torch.randn(1, 4, 5, 6)
    resized = nn.functional.interpolate(block.unit(path), (10, 12), mode="bilinear", align_corners=True)
    assert_close(block(path), block.projection(resized), ROUNDING)


@torch.no_grad()
@pytest.mark.parametrize("match_next_level", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (3, 5), (1, 1)])
def test_any_grid_gives_eight_times_its_size(match_next_level: bool, rows: int, columns: int) -> None:
    body = DPTBody((6, 6, 6, 6), (4, 4, 8, 8), 4, token_norm=True, position_map=True, match_next_level=match_next_level)
    levels = [torch.randn(2, rows * columns, 6) for _ in range(4)]
    assert body(levels, rows, columns).shape == (2, 4, 8 * rows, 8 * columns)


def test_doubling_and_matching_differ_on_odd_grids_only() -> None:
    torch.manual_seed(0)
    doubling = DPTBody((6, 6, 6, 6), (4, 4, 8, 8), 4)
    matching = DPTBody((6, 6, 6, 6), (4, 4, 8, 8), 4, match_next_level=True)
    matching.load_state_dict(doubling.state_dict())
    for rows, same in ((4, True), (3, False)):
        levels = [torch.randn(1, rows * 2, 6) for _ in range(4)]
        assert torch.equal(doubling(levels, rows, 2), matching(levels, rows, 2)) == same


def test_a_level_is_resized_by_whole_factors_or_halved() -> None:
    with pytest.raises(ValueError, match=r"an integer or by 0\.5, not by 1\.5"):
        DPTBody((6, 6), (4, 4), 4, resize_factors=(1.5, 1))


def test_position_map_is_odd_in_both_axes_and_follows_the_aspect() -> None:
    sines = position_map((4, 6), 1.5, 8)[[0, 1, 4, 5]]
    torch.testing.assert_close(sines[:2], -sines[:2].flip(-1))
    torch.testing.assert_close(sines[2:], -sines[2:].flip(-2))
    wide = position_map((1, 5), 3.0, 4)[0, 0, -1]  # sine of the last column's place at frequency 1
    torch.testing.assert_close(wide, torch.tensor(3 / 10**0.5 * 4 / 5).sin())
    with pytest.raises(ValueError, match="a multiple of 4 channels, got 6"):
        position_map((2, 2), 1.0, 6)
