"""Sizes that a checkpoint tells of itself."""

from __future__ import annotations

import json

import pytest
import torch

from common.checkpoints.detect import CROCO, DUST3R, SLAM3R_I2P, SLAM3R_L2W
from common.checkpoints.sizes import infer_sizes, sizes_from_published_config
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.config import BackboneConfig
from tests.support.parity import find, header, published_keys, sizes

PUBLISHED = BackboneConfig().to_dict()


@pytest.mark.parametrize(
    ("family", "key_map"), [("i2p", SLAM3R_I2P), ("l2w", SLAM3R_L2W), ("dust3r", DUST3R), ("croco", CROCO)]
)
def test_shapes_of_the_published_files_give_the_default_sizes(family: str, key_map) -> None:
    state = {key: torch.empty(shape, device="meta") for key, shape in published_keys(family).items()}
    found = infer_sizes(key_map.convert(state))
    assert found.items() <= PUBLISHED.items()
    seen = {"encoder_width", "encoder_heads", "decoder_width", "decoder_depth", "decoder_heads", "mlp_ratio"}
    assert seen <= set(found)
    assert ("encoder_depth" in found) == (family != "l2w")  # L2W has no encoder of its own


@pytest.mark.parametrize("network", [ImageToPoints, LocalToWorld])
@pytest.mark.parametrize(
    "changes",
    [{}, {"mlp_ratio": 2.0}, {"patch_size": 8}, {"head": "dpt", "decoder_depth": 10}, {"head": "smoothed"}],
    ids=["plain", "mlp_ratio", "patch_size", "dpt", "smoothed"],
)
def test_our_own_models_are_read_back(network: type, changes: dict) -> None:
    built = {
        "encoder_width": 128,
        "encoder_depth": 3,
        "encoder_heads": 2,
        "decoder_width": 64,
        "decoder_depth": 2,
        "decoder_heads": 1,
        **changes,
    }
    with torch.device("meta"):
        state = network(**built).state_dict()
    found = infer_sizes(state)
    assert BackboneConfig(**{**built, **found}) == BackboneConfig(**built)
    assert changes.items() <= found.items()


def test_a_stem_is_seen() -> None:
    with torch.device("meta"):
        assert infer_sizes(ImageToPoints(stem=True).state_dict())["stem"]


def test_published_configs_are_read_and_the_rest_of_them_dropped() -> None:
    config = json.loads(find("slam3r_keys_i2p.json").read_text())["config"]
    found = sizes_from_published_config({**config, "img_size": [224, 224], "landscape_only": False})
    assert found.items() <= PUBLISHED.items() and len(found) >= 7
    assert sizes_from_published_config({"anything": 1}) == {}


def test_the_configs_of_the_vectors_build_our_networks() -> None:
    assert ImageToPoints(**sizes(header("i2p")["config"])).config.decoder_heads == 4


def test_nothing_recognizable_gives_nothing() -> None:
    assert infer_sizes({"weight": torch.zeros(3)}) == {}
