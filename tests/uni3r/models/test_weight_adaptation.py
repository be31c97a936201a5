"""Resampling of patch kernels and position tables: the published numbers, and what the formula is for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.support.parity import assert_close
from tests.support.uni3r_parity import vectors
from tests.support.vector_files import numbers_of
from uni3r.models.weight_adaptation import adapt_patch_kernel, adapt_position_table, table_side


def test_published_kernels_and_table() -> None:
    given = vectors("weight_adaptation")
    for kind in ("patch_kernel", "pos_embed"):
        (before,), (after,) = (numbers_of(given, rf"{side}\.{kind}_(\d+)") for side in ("in", "out"))
        values, expected = given[f"in.{kind}_{before}"], given[f"out.{kind}_{after}"]
        if kind == "patch_kernel":
            assert_close(adapt_patch_kernel(values, after), expected, 1e-4)
        else:
            assert_close(adapt_position_table(values, after, class_last=True), expected, 1e-4)


def test_enlarged_patches_give_the_tokens_of_the_old_ones() -> None:
    kernel, patches = torch.randn(5, 3, 14, 14), torch.randn(4, 3, 14, 14)
    enlarged = F.interpolate(patches, (16, 16), mode="bicubic", antialias=True)
    tokens = torch.einsum("bcij,ocij->bo", patches, kernel)
    adapted = torch.einsum("bcij,ocij->bo", enlarged, adapt_patch_kernel(kernel, 16))
    torch.testing.assert_close(adapted, tokens, rtol=1e-3, atol=1e-3)


def test_the_class_entry_stays_first() -> None:
    entries = torch.randn(1, 50, 4)
    adapted = adapt_position_table(entries, 5)
    assert adapted.shape == (1, 26, 4)
    assert torch.equal(adapted[:, 0], entries[:, 0])
    assert torch.equal(adapt_position_table(entries, 5, class_last=True)[:, -1], entries[:, 0])
    assert table_side(50) == 7
    with pytest.raises(ValueError, match="a square of entries, not 51"):
        table_side(51)
