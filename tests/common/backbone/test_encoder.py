"""Patch embedding and encoder: parity in every layout, and independence of images from each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from common.backbone import Encoder, PatchEmbed, PatchGrid
from tests.support.parity import ROUNDING, assert_close, frames, image_to_points, procedural_frames, vectors


@pytest.fixture(scope="module")
def golden():
    return vectors("encoder")


@pytest.fixture(scope="module")
def network():
    return image_to_points("encoder")


@pytest.fixture
def head_dim(network) -> int:
    attention = network.encoder.blocks[0].self_attention
    return attention.projection.in_features // attention.num_heads


@torch.no_grad()
def test_patch_tokens_blocks_and_both_outputs_are_the_published_ones(golden, network, head_dim) -> None:
    images = frames(golden["frame_ids"])
    tokens, grid = network.encoder.patch_embed(images)
    assert_close(tokens, golden["patch_tokens"])
    assert torch.equal(grid.positions().expand_as(golden["positions"]), golden["positions"])
    for index, block in enumerate(network.encoder.blocks):
        tokens = block(tokens, grid.rotary(head_dim))
        assert_close(tokens, golden[f"block_{index}"])
    tokens, _ = network.encoder(images)
    assert_close(tokens, golden["tokens_unnormalized"])
    assert_close(network.decoder.token_norm(tokens), golden["tokens"])


@torch.no_grad()
@pytest.mark.parametrize("layout", ["landscape", "portrait"])
def test_images_that_are_not_square(golden, network, layout: str) -> None:
    count = len(golden[f"{layout}_tokens"])
    tokens, grid = network.encoder(frames(list(range(count)), layout))
    assert torch.equal(grid.positions().expand_as(golden[f"{layout}_positions"]), golden[f"{layout}_positions"])
    assert_close(network.decoder.token_norm(tokens), golden[f"{layout}_tokens"])


@torch.no_grad()
def test_small_inputs_show_the_epsilon_of_the_norms(golden, network, head_dim) -> None:
    rows, columns = (golden["positions"].amax(dim=0) + 1).tolist()
    block, rotary = network.encoder.blocks[0], PatchGrid(rows, columns).rotary(head_dim)
    assert_close(block(golden["low_in"], rotary), golden["low_out"])


@torch.no_grad()
def test_patches_are_those_of_a_strided_convolution() -> None:
    embed = PatchEmbed(8, patch_size=16)
    images = torch.randn(2, 3, 48, 80)
    tokens, grid = embed(images)
    plain = F.conv2d(images, embed.projection.weight, embed.projection.bias, stride=16)
    assert (grid.height, grid.width, grid.num_tokens) == (3, 5, 15)
    torch.testing.assert_close(tokens, plain.flatten(2).transpose(1, 2))


@torch.no_grad()
def test_a_portrait_stored_transposed_has_the_tokens_of_the_upright_image(network) -> None:
    landscape, portrait = procedural_frames(1, 48, 80), procedural_frames(1, 80, 48)
    batch = torch.cat([landscape, portrait.transpose(-1, -2)])
    tokens, grid = network.encoder(batch, torch.tensor([False, True]))
    upright, upright_grid = network.encoder(portrait)
    assert_close(tokens[1:], upright, ROUNDING)
    assert torch.equal(grid.positions()[1], upright_grid.positions())
    assert_close(tokens[:1], network.encoder(landscape)[0], ROUNDING)


@torch.no_grad()
@pytest.mark.parametrize("turned", [None, torch.tensor([False, True, False, True, False])])
def test_chunks_and_batches_change_nothing(network, turned) -> None:
    images = procedural_frames(5, 48, 80)
    together, _ = network.encoder(images, turned)
    assert_close(network.encoder(images, turned, chunk=2)[0], together, ROUNDING)


@torch.no_grad()
def test_items_of_a_batch_do_not_see_each_other(network) -> None:
    images = procedural_frames(2, 48, 64)
    other = torch.cat([images[:1], torch.randn(1, 3, 48, 64)])
    assert_close(network.encoder(other)[0][0], network.encoder(images)[0][0], ROUNDING)


def test_image_sides_must_be_multiples_of_the_patch() -> None:
    with pytest.raises(ValueError, match="50x64 is not a multiple of the patch size 16"):
        Encoder(width=16, depth=1, num_heads=1)(torch.zeros(1, 3, 50, 64))
