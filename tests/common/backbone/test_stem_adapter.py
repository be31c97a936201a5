"""The convolutional stem: silent until it learns, and every image is seen upright."""

from __future__ import annotations

import pytest
import torch

from common.backbone import StemAdapter
from common.backbone.stem.network import STEM_CHANNELS, STEM_STRIDES, ConvolutionalStem


def learnt(adapter: StemAdapter) -> StemAdapter:
    """An adapter that has something to say."""
    torch.nn.init.normal_(adapter.residuals.weight, std=0.5)
    return adapter.eval()


@torch.no_grad()
def test_an_adapter_that_has_not_learnt_says_nothing() -> None:
    assert not StemAdapter(32, 16)(torch.rand(2, 3, 64, 48) * 2 - 1).any()


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (48, 80), (112, 112), (224, 160)])
def test_features_have_their_strides_on_even_and_odd_grids(size: tuple[int, int]) -> None:
    for feature, stride, channels in zip(
        ConvolutionalStem()(torch.zeros(1, 3, *size)), STEM_STRIDES, STEM_CHANNELS, strict=True
    ):
        assert feature.shape == (1, channels, *(-(-side // stride) for side in size))
    assert StemAdapter(32, 16)(torch.zeros(1, 3, *size)).shape == (1, size[0] * size[1] // 256, 32)


@torch.no_grad()
def test_a_token_sees_its_own_place_of_the_image() -> None:
    adapter = learnt(StemAdapter(8, 16))
    dark = torch.zeros(1, 3, 256, 256)
    lit = dark.clone()
    lit[..., 208:224, 16:32] = 1  # row 13, column 1 of the tokens
    change = (adapter(lit)[0] - adapter(dark)[0]).norm(dim=-1).view(16, 16)
    row, column = divmod(int(change.argmax()), 16)
    assert abs(row - 13) <= 1 and abs(column - 1) <= 1


@torch.no_grad()
def test_portraits_stored_transposed_are_seen_upright() -> None:
    adapter = learnt(StemAdapter(8, 16))
    images = torch.rand(2, 3, 32, 64) * 2 - 1
    mixed = adapter(images, torch.tensor([False, True]))
    torch.testing.assert_close(mixed[:1], adapter(images[:1]))
    torch.testing.assert_close(mixed[1:], adapter(images[1:].transpose(-1, -2)))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32(dtype: torch.dtype) -> None:
    adapter = learnt(StemAdapter(32, 16))
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    exact = adapter(images)
    with torch.autocast("cpu", dtype=dtype):
        near = adapter(images)
    assert (near - exact).norm() < 0.05 * exact.norm()


def test_shapes_follow_without_values() -> None:
    with torch.device("meta"):
        seen = StemAdapter(32, 16)(torch.zeros(2, 3, 64, 48))
    assert seen.shape == (2, 12, 32)


def test_a_patch_size_that_the_features_do_not_divide_is_an_error() -> None:
    with pytest.raises(ValueError, match="multiple of 4, got 14"):
        StemAdapter(32, 14)
