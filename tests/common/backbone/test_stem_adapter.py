"""The convolutional stem: an encoder with one begins as the encoder without, and sees every image upright."""

from __future__ import annotations

import pytest
import torch

from common.backbone import Encoder, StemAdapter
from common.backbone.stem.network import STEM_CHANNELS, STEM_STRIDES, ConvolutionalStem

SIZES = {"width": 32, "depth": 2, "num_heads": 2}


def learnt(encoder: Encoder) -> Encoder:
    """An encoder whose adapter has something to say."""
    assert encoder.adapter is not None
    torch.nn.init.normal_(encoder.adapter.residuals.weight, std=0.5)
    return encoder.eval()


@torch.no_grad()
def test_an_encoder_with_a_stem_starts_as_the_one_without() -> None:
    with_stem, plain = Encoder(**SIZES, stem=True), Encoder(**SIZES)
    kept = {name: value for name, value in with_stem.state_dict().items() if not name.startswith("adapter.")}
    plain.load_state_dict(kept)
    images = torch.rand(2, 3, 64, 48) * 2 - 1
    assert torch.equal(with_stem(images)[0], plain(images)[0])


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (48, 80), (112, 112), (224, 160)])
def test_features_have_their_strides_on_even_and_odd_grids(size: tuple[int, int]) -> None:
    for feature, stride, channels in zip(
        ConvolutionalStem()(torch.zeros(1, 3, *size)), STEM_STRIDES, STEM_CHANNELS, strict=True
    ):
        assert feature.shape == (1, channels, *(-(-side // stride) for side in size))
    residuals = StemAdapter(32, 16, places=3)(torch.zeros(1, 3, *size))
    assert [part.shape for part in residuals] == [(1, size[0] * size[1] // 256, 32)] * 3


@torch.no_grad()
def test_a_token_sees_its_own_place_of_the_image() -> None:
    adapter = StemAdapter(8, 16, places=1)
    torch.nn.init.normal_(adapter.residuals.weight)
    dark = torch.zeros(1, 3, 256, 256)
    lit = dark.clone()
    lit[..., 208:224, 16:32] = 1  # row 13, column 1 of the tokens
    change = (adapter(lit)[0] - adapter(dark)[0]).norm(dim=-1).view(16, 16)
    row, column = divmod(int(change.argmax()), 16)
    assert abs(row - 13) <= 1 and abs(column - 1) <= 1


@torch.no_grad()
def test_portraits_stored_transposed_are_seen_upright() -> None:
    encoder = learnt(Encoder(**SIZES, stem=True))
    images = torch.rand(2, 3, 32, 64) * 2 - 1
    mixed, _ = encoder(images, torch.tensor([False, True]))
    torch.testing.assert_close(mixed[:1], encoder(images[:1])[0])
    torch.testing.assert_close(mixed[1:], encoder(images[1:].transpose(-1, -2))[0])


@torch.no_grad()
def test_chunks_and_levels_agree_with_the_whole() -> None:
    encoder = learnt(Encoder(**SIZES, stem=True))
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    tokens, _ = encoder(images)
    torch.testing.assert_close(encoder(images, chunk=2)[0], tokens)
    torch.testing.assert_close(encoder.forward_levels(images, [0, 1])[0][1], tokens)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32(dtype: torch.dtype) -> None:
    encoder = learnt(Encoder(**SIZES, stem=True))
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    exact, _ = encoder(images)
    with torch.autocast("cpu", dtype=dtype):
        near, _ = encoder(images)
    assert (near - exact).norm() < 0.05 * exact.norm()


def test_shapes_follow_without_values() -> None:
    with torch.device("meta"):
        tokens, _ = Encoder(**SIZES, stem=True)(torch.zeros(2, 3, 64, 48))
    assert tokens.shape == (2, 12, 32)


def test_a_patch_size_that_the_features_do_not_divide_is_an_error() -> None:
    with pytest.raises(ValueError, match="multiple of 4, got 14"):
        StemAdapter(32, 14, places=3)
