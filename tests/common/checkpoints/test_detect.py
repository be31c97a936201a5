"""Key maps: every published name has exactly one place in our networks, and every place one name.

At the published size, on the meta device: shapes without memory.
"""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from torch import Tensor

from common.checkpoints.detect import CROCO, DUST3R, SLAM3R_I2P, SLAM3R_L2W, KeyMap, detect_key_map
from slam3r.models import ImageToPoints, LocalToWorld
from tests.support.parity import (
    PUBLISHED_LISTS,
    fill,
    find,
    image_to_points,
    published_keys,
    published_state,
    weight_of,
)

FAMILIES = {"i2p": SLAM3R_I2P, "l2w": SLAM3R_L2W, "dust3r": DUST3R, "croco": CROCO}
Shapes = dict[str, tuple[int, ...]]
SMALL = {"encoder_width": 16, "encoder_depth": 1, "encoder_heads": 1}
SMALL |= {"decoder_width": 16, "decoder_depth": 2, "decoder_heads": 1}

PREDICTION_HEAD = {"prediction_head.weight", "prediction_head.bias"}
PATCH_EMBEDDING = {"patch_embed.proj.weight", "patch_embed.proj.bias"}
CORRELATION_HEAD = {
    f"correlation_head.{layer}.{kind}" for layer in ("norm", "mlp.fc1", "mlp.fc2") for kind in ("weight", "bias")
}
POINT_HEADS = {f"{role}_head.projection.{kind}" for role in ("reference", "source") for kind in ("weight", "bias")}
POINTMAP_EMBEDDING = {
    "pointmap_embedding.void_token",
    "pointmap_embedding.patches.projection.weight",
    "pointmap_embedding.patches.projection.bias",
}


@cache
def our_shapes(network: type) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in network().state_dict().items()}


def published_shapes(family: str, with_encoder: bool = False) -> Shapes:
    lists = json.loads(find(f"{PUBLISHED_LISTS[family]}.json").read_text())
    added = lists["added_with_encoder"] if with_encoder else {}
    return {key: tuple(shape) for key, shape in {**lists["keys"], **added}.items()}


def on_meta(shapes: Shapes) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def left_out(key_map: KeyMap, shapes: Shapes) -> set[str]:
    return {key for key in shapes if key_map.rename(key) is None}


def converted(key_map: KeyMap, shapes: Shapes) -> Shapes:
    """Our names and shapes; fails if two published names share one of ours."""
    kept = [key for key in shapes if key_map.rename(key) is not None]
    assert len({key_map.rename(key) for key in kept}) == len(kept)
    return {name: tuple(value.shape) for name, value in key_map.convert(on_meta(shapes)).items()}


def without(shapes: Shapes, names: set[str]) -> Shapes:
    assert names <= set(shapes)
    return {name: shape for name, shape in shapes.items() if name not in names}


def test_image_to_points_has_a_place_for_everything() -> None:
    published = published_shapes("i2p")
    assert left_out(SLAM3R_I2P, published) == set()
    assert converted(SLAM3R_I2P, published) == our_shapes(ImageToPoints)


@pytest.mark.parametrize("with_encoder", [False, True])
def test_local_to_world_leaves_out_the_encoder_it_never_runs(with_encoder: bool) -> None:
    published = published_shapes("l2w", with_encoder)
    encoder = {key for key in published if key.startswith("enc_blocks.")}
    assert len(encoder) == (288 if with_encoder else 0)
    assert left_out(SLAM3R_L2W, published) == PATCH_EMBEDDING | encoder
    assert converted(SLAM3R_L2W, published) == our_shapes(LocalToWorld)


def test_dust3r_lacks_what_slam3r_added() -> None:
    published = published_shapes("dust3r")
    assert left_out(DUST3R, published) == {"mask_token"}
    ours = converted(DUST3R, published)
    assert ours == without(our_shapes(ImageToPoints), CORRELATION_HEAD)
    encoder = {name for name in ours if name.startswith("encoder.")}
    assert without(ours, encoder) == without(our_shapes(LocalToWorld), POINTMAP_EMBEDDING)


def test_croco_has_one_decoder_that_serves_twice_and_no_point_heads() -> None:
    published = published_shapes("croco")
    assert left_out(CROCO, published) == {"mask_token"} | PREDICTION_HEAD
    assert converted(CROCO, published) == without(our_shapes(ImageToPoints), CORRELATION_HEAD | POINT_HEADS)
    state = {"dec_blocks.0.norm1.weight": torch.ones(3)}
    assert CROCO.convert(state).keys() == {
        "decoder.reference_blocks.0.self_norm.weight",
        "decoder.source_blocks.0.self_norm.weight",
    }


@pytest.mark.parametrize(
    ("key_map", "network", "fresh"),
    [
        (DUST3R, ImageToPoints, CORRELATION_HEAD),
        (DUST3R, LocalToWorld, POINTMAP_EMBEDDING),
        (CROCO, ImageToPoints, CORRELATION_HEAD | POINT_HEADS),
        (CROCO, LocalToWorld, POINTMAP_EMBEDDING | POINT_HEADS),
    ],
)
def test_names_that_start_fresh(key_map: KeyMap, network: type, fresh: set[str]) -> None:
    assert {name for name in our_shapes(network) if name.startswith(key_map.fresh)} == fresh


def test_dpt_heads_have_a_place_for_everything_but_duplicates_and_an_idle_unit() -> None:
    """There is no published list of these; the weight rule writes every one of our tensors through the map."""
    network = image_to_points("i2p_dpt")
    published = published_state(network, "i2p")
    assert converted(SLAM3R_I2P, {key: tuple(value.shape) for key, value in published.items()}) == {
        name: tuple(value.shape) for name, value in network.state_dict().items()
    }
    for head in ("downstream_head1", "downstream_head2"):
        for level in range(1, 5):
            assert SLAM3R_I2P.rename(f"{head}.dpt.scratch.layer{level}_rn.weight") is None
        for conv in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
            assert SLAM3R_I2P.rename(f"{head}.dpt.scratch.refinenet4.resConfUnit1.{conv}") is None


def test_block_names_one_by_one() -> None:
    """The names are easily confused: the MLP's norm is the second of an encoder block, the third of a decoder block."""
    for published, ours in {
        "enc_blocks.3.norm2.weight": "encoder.blocks.3.mlp_norm.weight",
        "enc_blocks.3.attn.proj.bias": "encoder.blocks.3.self_attention.projection.bias",
        "mv_dec_blocks1.0.norm2.weight": "decoder.reference_blocks.0.cross_norm.weight",
        "mv_dec_blocks2.0.norm3.bias": "decoder.source_blocks.0.mlp_norm.bias",
        "mv_dec_blocks2.0.norm_y.bias": "decoder.source_blocks.0.memory_norm.bias",
        "mv_dec_blocks1.0.cross_attn.projk.weight": "decoder.reference_blocks.0.cross_attention.key.weight",
        "mv_dec_blocks1.0.cross_attn.proj.weight": "decoder.reference_blocks.0.cross_attention.projection.weight",
        "enc_norm.weight": "decoder.token_norm.weight",
        "downstream_head2.proj.weight": "source_head.projection.weight",
    }.items():
        assert SLAM3R_I2P.rename(published) == ours


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_told_apart_by_their_names(family: str) -> None:
    assert detect_key_map(published_keys(family)) is FAMILIES[family]


def test_our_own_names_are_of_no_family() -> None:
    assert detect_key_map(our_shapes(ImageToPoints)) is None
    assert detect_key_map(our_shapes(LocalToWorld)) is None
    assert detect_key_map([]) is None


def test_values_arrive_where_their_names_say() -> None:
    network = fill(ImageToPoints(**SMALL), "i2p")
    key, ours = "mv_dec_blocks2.1.cross_attn.projv.weight", "decoder.source_blocks.1.cross_attention.value.weight"
    expected = torch.from_numpy(weight_of(key, torch.Size([16, 16]), ""))
    assert torch.equal(network.state_dict()[ours], expected)
    assert torch.equal(SLAM3R_I2P.convert(published_state(network, "i2p"))[ours], expected)
