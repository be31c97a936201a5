"""Rotary positions: parity, the relative property that they exist for, and a cache that inference cannot spoil."""

from __future__ import annotations

import pytest
import torch

from common.backbone import PatchGrid, rotary_from_positions
from tests.support.parity import assert_close, header, vectors
from tests.support.vector_files import numbers_of


def test_rotated_tokens_are_the_published_ones() -> None:
    golden, base = vectors("rope2d"), float(header("rope2d")["base"])
    for head_dim in numbers_of(golden, r"tokens_(\d+)"):
        rotary = rotary_from_positions(golden[f"positions_{head_dim}"], head_dim, base)
        assert_close(rotary.rotate(golden[f"tokens_{head_dim}"]), golden[f"rotated_{head_dim}"])


def test_attention_sees_only_differences_of_positions() -> None:
    query, key = torch.randn(2, 1, 1, 1, 16)
    here, there = torch.tensor([[2, 5]]), torch.tensor([[4, 1]])

    def score(move: torch.Tensor) -> torch.Tensor:
        rotated = rotary_from_positions(here + move, 16).rotate(query)
        return (rotated * rotary_from_positions(there + move, 16).rotate(key)).sum()

    torch.testing.assert_close(score(torch.tensor([[7, 3]])), score(torch.tensor([[0, 0]])))


def test_the_first_half_turns_with_the_row_and_the_second_with_the_column() -> None:
    token = torch.randn(1, 1, 1, 8)
    down = rotary_from_positions(torch.tensor([[3, 0]]), 8).rotate(token)
    right = rotary_from_positions(torch.tensor([[0, 3]]), 8).rotate(token)
    assert torch.equal(down[..., 4:], token[..., 4:])
    assert torch.equal(right[..., :4], token[..., :4])
    assert not torch.equal(down[..., :4], token[..., :4])


def test_a_table_repeats_for_views_side_by_side_and_for_unfolded_items() -> None:
    positions = torch.randint(0, 9, (2, 5, 2))
    rotary = rotary_from_positions(positions, 8)
    side_by_side = rotary_from_positions(positions.repeat(1, 3, 1), 8)
    unfolded = rotary_from_positions(positions.repeat_interleave(3, 0), 8)
    assert torch.equal(rotary.repeat(3).cos, side_by_side.cos)
    assert torch.equal(rotary.repeat_items(3).sin, unfolded.sin)


def test_a_table_first_made_for_inference_serves_training() -> None:
    grid = PatchGrid(3, 11)  # a size that no other test uses, so that the cache is empty
    with torch.inference_mode():
        first = grid.rotary(8)
    tokens = torch.randn(1, 2, 33, 8, requires_grad=True)
    grid.rotary(8).rotate(tokens).square().sum().backward()
    assert tokens.grad is not None and grid.rotary(8) is first


def test_angles_are_float32_whatever_autocast_says() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rotary_from_positions(torch.tensor([[13, 9]]), 64)
    assert torch.equal(inside.cos, rotary_from_positions(torch.tensor([[13, 9]]), 64).cos)


def test_head_dimension_must_be_a_multiple_of_four() -> None:
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        rotary_from_positions(torch.zeros(1, 2), 6)
