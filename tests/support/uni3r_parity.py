"""Tools for the parity tests of Uni3R and VGGT: the vectors, and models filled by the weight rule through our key maps.

As in `tests.support.parity`, no weights are stored: each is a function of its published name and shape.
"""

from __future__ import annotations

import json
import math
import zlib
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from common.checkpoints.detect import UNI3R, KeyMap
from tests.support.parity import GOLDENS
from tests.support.paths import SHARED

ModelT = TypeVar("ModelT", bound=nn.Module)


def find(name: str) -> Path:
    """A vector file: the copy among the goldens (``uni3r_<name>``), or the original where it is at hand; else skips."""
    for path in (GOLDENS / f"uni3r_{name}", GOLDENS / name, SHARED / "parity_uni3r" / name):
        if path.is_file() and (path.parent != GOLDENS or path.name != "activations.safetensors"):
            return path
    pytest.skip(f"{name} holds images and is not copied into the repository; ../shared/parity_uni3r is not here")


def vectors(name: str) -> dict[str, Tensor]:
    """All tensors of a vector file."""
    return load_file(find(f"{name}.safetensors"))


def header(name: str) -> dict:
    """The configuration in a vector file."""
    with safe_open(find(f"{name}.safetensors"), "pt") as file:
        return json.loads(file.metadata()["config"])


@cache
def published_keys(name: str = "uni3r_keys") -> dict[str, list[int]]:
    """Published names and shapes, in the order of the file."""
    content = json.loads(find(f"{name}.json").read_text())
    return content.get("keys", content)


def weight_of(key: str, shape: torch.Size) -> Tensor:
    """The weight rule."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(tuple(shape), dtype=np.float32)
    last = key.rsplit(".", 1)[-1]
    if len(shape) >= 2 and last.endswith("weight"):
        noise *= np.float32(1 / math.sqrt(math.prod(shape[1:])))
    elif len(shape) == 1 and last in ("weight", "gamma", "running_var"):
        noise = 1 + np.float32(0.02) * noise
    else:
        noise *= np.float32(0.02)
    return torch.from_numpy(noise)


def published_names(model: nn.Module, key_map: KeyMap = UNI3R, prefix: str = "") -> dict[str, str]:
    """Our name -> published name, for every tensor of a model, or part of one under ``prefix``, of any depth.

    A toy model has fewer blocks than the published list, and names that are a part of it.
    """
    own = {prefix + name for name in model.state_dict()}
    names = {ours: key for key in published_keys() if (ours := key_map.rename(key)) in own}
    assert own == set(names), sorted(own - set(names))
    return {ours.removeprefix(prefix): key for ours, key in names.items()}


@torch.no_grad()
def fill(model: ModelT, key_map: KeyMap = UNI3R, prefix: str = "") -> ModelT:
    """Give every tensor the value that the rule gives to its published name."""
    own = model.state_dict()
    for ours, key in published_names(model, key_map, prefix).items():
        own[ours].copy_(weight_of(key, own[ours].shape))
    return model.eval()
