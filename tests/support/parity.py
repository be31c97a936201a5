"""Tools for parity tests: the vectors, and models filled by the weight rule through our key maps.

The vectors hold inputs and outputs of the published code; no weights are stored. Every weight is a function of its
published name and shape, so filling a model here also tests the key map.
"""

from __future__ import annotations

import json
import math
import zlib
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.checkpoints.detect import CROCO, DUST3R, SLAM3R_I2P, SLAM3R_L2W, KeyMap
from common.checkpoints.sizes import sizes_from_published_config
from slam3r.models import ImageToPoints, LocalToWorld
from tests.support.vector_files import find_vectors, metadata

TOLERANCE = 2e-5
"""Largest absolute difference over the largest absolute value, float32."""
DPT_TOLERANCE = 1e-4
ROUNDING = 5e-6
"""In the same measure: two ways of ours to compute one thing, which sum in another order."""

PUBLISHED_LISTS = {"i2p": "slam3r_keys_i2p", "l2w": "slam3r_keys_l2w", "dust3r": "dust3r_keys", "croco": "croco_keys"}
KEY_MAPS: dict[str, KeyMap] = {"i2p": SLAM3R_I2P, "l2w": SLAM3R_L2W, "dust3r": DUST3R, "croco": CROCO}


def find(name: str) -> Path:
    """A vector file of SLAM3R; skips the test where it is missing."""
    return find_vectors("parity", name, name)


def vectors(name: str) -> dict[str, Tensor]:
    """All tensors of a vector file."""
    return load_file(find(f"{name}.safetensors"))


def header(name: str) -> dict:
    """The description in a vector file, JSON values parsed."""
    return metadata(find(f"{name}.safetensors"))


def salt_of(info: dict, family: str) -> str:
    """The salt of one of the networks of a vector file, from its header."""
    if family == "l2w":
        return info["salt_l2w"] if "salt_l2w" in info else info["salt"]
    return next(info[key] for key in ("salt_i2p", "encoder_salt", "salt") if key in info)


def frames(ids: Tensor | list[int] | None = None, kind: str = "images") -> Tensor:
    """Frames as network input, (view, 3, H, W) in [-1, 1]."""
    images = vectors("frames")[kind]
    if ids is not None:
        images = images[torch.as_tensor(ids)]
    return (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def procedural_frames(count: int, height: int = 64, width: int = 64) -> Tensor:
    """A pan over waves and soft squares, (view, 3, H, W) in [-1, 1]: by formula, so that no image file is needed."""
    index, rows, columns = np.meshgrid(np.arange(count), np.arange(height), np.arange(width), indexing="ij")
    u, v = columns + 2.1 * index, rows + 0.7 * index
    squares = np.tanh(4 * np.sin(u / 5) * np.sin(v / 6))
    slow = np.sin((u + 2 * v) / 23)
    colours = [0.4 * np.sin(u / 7 + c) * np.cos(v / 11 - c) + 0.3 * slow + 0.3 * squares for c in range(3)]
    return torch.from_numpy(np.stack(colours, axis=1)).float()


@cache
def published_keys(model: str) -> dict[str, list[int]]:
    """Published names and shapes at the published size."""
    return json.loads(find(f"{PUBLISHED_LISTS[model]}.json").read_text())["keys"]


def weight_of(key: str, shape: torch.Size, salt: str) -> np.ndarray:
    """The weight rule."""
    noise = np.random.default_rng(zlib.crc32((salt + key).encode())).standard_normal(tuple(shape), dtype=np.float32)
    if len(shape) >= 2:
        gain = 1.5
        if ".dpt.head.4." in key:
            gain = 0.15
        elif ".dpt." in key:
            gain = 1.0
        elif key.startswith(("downstream_head1.proj.", "downstream_head2.proj.")):
            gain = 0.5
        return noise * np.float32(gain / math.sqrt(math.prod(shape[1:])))
    if key.endswith(".weight"):
        return 1 + np.float32(0.1) * noise
    return np.float32(0.1) * noise


def published_names(model: nn.Module, family: str) -> dict[str, str]:
    """Our name -> published name, for every tensor of a model of any depth."""
    key_map = KEY_MAPS[family]
    own = model.state_dict()
    candidates = set(published_keys(family)) | {f"downstream_head{head}.{rest}" for head in (1, 2) for rest in _DPT}
    return {ours: key for key in sorted(candidates) if (ours := key_map.rename(key)) in own}


_DPT = [
    f"dpt.{stem}.{kind}"
    for stem in (
        *(f"act_postprocess.{level}.{part}" for level in range(4) for part in (0, 1)),
        *(f"scratch.layer_rn.{level}" for level in range(4)),
        *(
            f"scratch.refinenet{level}.{part}"
            for level in range(1, 5)
            for part in (
                "resConfUnit1.conv1",
                "resConfUnit1.conv2",
                "resConfUnit2.conv1",
                "resConfUnit2.conv2",
                "out_conv",
            )
        ),
        *(f"head.{index}" for index in (0, 2, 4)),
    )
    for kind in ("weight", "bias")
]


ModelT = TypeVar("ModelT", ImageToPoints, LocalToWorld)


def fill(model: ModelT, family: str, salt: str = "", confidence_offset: float = 0.0) -> ModelT:
    """Give every tensor of a model the value that the rule gives to its published name.

    Args:
        model: any of our models, of any size.
        family: ``i2p``, ``l2w`` or ``dust3r``: which names the rule reads.
        salt: from the vector file's header.
        confidence_offset: added to the confidence quarter of both heads' biases (pipelines only).
    """
    own = model.state_dict()
    names = published_names(model, family)
    missing = set(own) - set(names)
    # A DUSt3R file has no correlation head; anything else must be reachable by name.
    assert all(name.startswith("correlation_head.") and family == "dust3r" for name in missing), missing
    for ours, key in names.items():
        own[ours].copy_(torch.from_numpy(weight_of(key, own[ours].shape, salt)))
    if confidence_offset:
        for head in (model.reference_head, model.source_head):
            bias = head.projection.bias.data
            bias[-len(bias) // 4 :] += confidence_offset
    return model.eval()


def published_state(model: nn.Module, family: str) -> dict[str, Tensor]:
    """The tensors of a model under the names that a published checkpoint of the family would give them."""
    own = model.state_dict()
    return {key: own[ours].clone() for ours, key in published_names(model, family).items()}


def sizes(config: dict) -> dict:
    """A vector file's config under our names."""
    return sizes_from_published_config(config)


@cache
def _filled(network: type[ModelT], config: str, family: str, salt: str, confidence_offset: float = 0.0) -> ModelT:
    return fill(network(**sizes(json.loads(config))), family, salt, confidence_offset)


def _network(network: type[ModelT], vector_file: str, family: str) -> ModelT:
    info = header(vector_file)
    offset = float(info.get("confidence_offset", 0))
    return _filled(network, json.dumps(info["config"]), family, salt_of(info, family), offset)


def image_to_points(vector_file: str, family: str = "i2p") -> ImageToPoints:
    """The I2P network of a vector file. Shared between tests: copy it before changing it."""
    return _network(ImageToPoints, vector_file, family)


def local_to_world(vector_file: str) -> LocalToWorld:
    """The L2W network of a vector file. Shared between tests: copy it before changing it."""
    return _network(LocalToWorld, vector_file, "l2w")


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest absolute difference over the largest absolute expected value."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).abs().max() / expected.abs().max())


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    """Fails with the error in the measure of the vectors."""
    error = relative_error(actual, expected)
    assert error <= tolerance, f"error {error:.2e}, tolerance {tolerance:.0e}"
