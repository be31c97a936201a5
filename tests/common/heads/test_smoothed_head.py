"""The linear head with a correction across patches: begins as the linear head, and can close the steps between them."""

from __future__ import annotations

import pytest
import torch

from common.backbone import PatchGrid
from common.heads import LinearHead, SmoothedLinearHead


def learnt(width: int = 8, patch_size: int = 8) -> SmoothedLinearHead:
    head = SmoothedLinearHead(width, patch_size)
    torch.nn.init.normal_(head.correct.weight, std=0.1)
    return head


@torch.no_grad()
def test_with_the_weights_of_a_linear_head_it_is_that_head() -> None:
    linear, smoothed = LinearHead(8), SmoothedLinearHead(8)
    missing = smoothed.load_state_dict(linear.state_dict(), strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} == {"condense", "look", "correct"}
    tokens = torch.randn(2, 3, 6, 8)
    assert torch.equal(smoothed([tokens], PatchGrid(2, 3)), linear([tokens], PatchGrid(2, 3)))


@torch.no_grad()
def test_a_pixel_depends_on_the_patch_beside_it() -> None:
    head, tokens = learnt(), torch.randn(1, 1, 6, 8)
    other = tokens.clone()
    other[0, 0, 0] += 1  # row 0, column 0
    before, after = head([tokens], PatchGrid(2, 3)), head([other], PatchGrid(2, 3))
    changed = (before - after).abs().amax(dim=(0, 1, 4)) > 0
    assert changed[:8, :8].all() and changed[4, 8] and not changed[:, 23].any()


@torch.no_grad()
def test_a_mixed_batch_comes_back_in_the_stored_layout() -> None:
    head, tokens = learnt(), torch.randn(2, 3, 6, 8)
    mixed = head([tokens], PatchGrid(2, 3, torch.tensor([False, True])))
    torch.testing.assert_close(mixed[0], head([tokens[:1]], PatchGrid(2, 3))[0])
    torch.testing.assert_close(mixed[1], head([tokens[1:]], PatchGrid(3, 2))[0].transpose(1, 2))


@torch.no_grad()
def test_the_head_is_float32_also_under_autocast() -> None:
    head, tokens = learnt(), torch.randn(1, 1, 6, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head([tokens], PatchGrid(2, 3))
    assert inside.dtype == torch.float32 and torch.equal(inside, head([tokens], PatchGrid(2, 3)))


def test_it_learns_what_no_patch_can_say_alone() -> None:
    """A ramp whose slope depends on the neighbour: the linear head, blind to it, is left with the mean."""
    torch.manual_seed(0)
    tokens = torch.randn(1, 1, 16, 4)
    target = tokens[0, 0, :, 0].view(1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    target = torch.nn.functional.avg_pool2d(target[0], 9, 1, 4, count_include_pad=False)[None]
    errors = {}
    for kind in (LinearHead, SmoothedLinearHead):
        head = kind(4, patch_size=8, channels=1)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
        for _ in range(100):
            loss = (head([tokens], PatchGrid(4, 4))[..., 0] - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors[kind] = float(loss.detach())
    assert errors[SmoothedLinearHead] < 0.2 * errors[LinearHead]


def test_a_patch_size_that_cells_do_not_divide_is_an_error() -> None:
    with pytest.raises(ValueError, match="multiple of 4, got 14"):
        SmoothedLinearHead(8, patch_size=14)
