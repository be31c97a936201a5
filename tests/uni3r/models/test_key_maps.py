"""Key maps of VGGT and Uni3R: a bijection between what they keep and our networks, at the published size."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from common.checkpoints.detect import UNI3R, UNI3R_TEACHER, VGGT, KeyMap, detect_key_map
from tests.support.uni3r_parity import published_keys
from uni3r.models.uni3r import Uni3R
from uni3r.models.vggt import VGGT as VggtNetwork

Shapes = dict[str, tuple[int, ...]]


@cache
def _ours(network: type, **sizes: bool) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in network(**sizes).state_dict().items()}


def _converted(key_map: KeyMap, published: dict[str, list[int]]) -> Shapes:
    """Our names and shapes; fails if two published names share one of ours."""
    kept = {key: key_map.rename(key) for key in published if key_map.rename(key) is not None}
    assert len(set(kept.values())) == len(kept)
    return {ours: tuple(published[key]) for key, ours in kept.items()}


def test_uni3r_has_a_place_for_everything_it_uses() -> None:
    published = published_keys("uni3r_keys")
    assert _converted(UNI3R, published) == _ours(Uni3R, camera_head=True, depth_head=True)
    dropped = {key.split(".")[0] if not key.startswith("vggt.") else key for key in published if not UNI3R.rename(key)}
    others = {key for key in dropped if key.startswith("vggt.") and ".track_head." not in key}
    assert others == {"vggt.aggregator.patch_embed.mask_token"}
    assert dropped - {key for key in dropped if "." in key} == {"distiller", "lseg_feature_extractor", "gaussian_head"}


@pytest.mark.parametrize(("key_map", "names"), [(VGGT, "vggt_keys"), (UNI3R_TEACHER, "uni3r_keys")])
def test_vggt_alone_and_inside_a_uni3r_file(key_map: KeyMap, names: str) -> None:
    assert _converted(key_map, published_keys(names)) == _ours(VggtNetwork)


def test_the_files_are_told_apart() -> None:
    assert detect_key_map(published_keys("uni3r_keys")) is UNI3R
    assert detect_key_map(published_keys("vggt_keys")) is VGGT
    without_teacher = [key for key in published_keys("uni3r_keys") if not key.startswith("distiller.")]
    assert detect_key_map(without_teacher) is UNI3R
    assert detect_key_map(_ours(Uni3R)) is None


@pytest.mark.parametrize("names", ["uni3r_keys", "vggt_keys"])
def test_sizes_are_read_off_the_shapes(names: str) -> None:
    key_map, network = (UNI3R, Uni3R) if names == "uni3r_keys" else (VGGT, VggtNetwork)
    state = {key: torch.empty(shape, device="meta") for key, shape in published_keys(names).items()}
    with torch.device("meta"):
        inferred = network(**network.infer_config(key_map.convert(state))).config
        assert inferred == network().config


def test_easily_confused_names_one_by_one() -> None:
    for published, ours in {
        "vggt.aggregator.patch_embed.norm.bias": "backbone.encoder.norm.bias",
        "vggt.aggregator.patch_embed.blocks.3.norm2.weight": "backbone.encoder.blocks.3.mlp_norm.weight",
        "vggt.aggregator.frame_blocks.0.attn.qkv.bias": "backbone.decoder.frame_blocks.0.self_attention.qkv.bias",
        "vggt.aggregator.intrinsic_encoder.bias": "backbone.intrinsics.projection.bias",
        "vggt.camera_head.trunk.1.ls2.gamma": "camera_head.trunk.1.scale2.gamma",
        "vggt.point_head.scratch.layer1_rn.weight": "point_head.features.body.to_width.0.weight",
        "vggt.point_head.resize_layers.3.bias": "point_head.features.body.resizes.3.bias",
        "vggt.depth_head.scratch.output_conv2.2.weight": "depth_head.predict.2.weight",
        "dpt_head.scratch.refinenet4.out_conv.bias": "attribute_head.features.body.fusions.3.projection.bias",
        "gs_attr_proj.2.bias": "attribute_head.project.2.bias",
        "feature_expansion.1.weight": "feature_compressor.expansion.weight",
    }.items():
        assert UNI3R.rename(published) == ours
