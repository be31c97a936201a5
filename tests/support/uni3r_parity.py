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
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.checkpoints.detect import UNI3R, KeyMap
from tests.support.vector_files import find_vectors, metadata

ModelT = TypeVar("ModelT", bound=nn.Module)


def find(name: str, excerpt: str | None = None) -> Path:
    """A vector file of Uni3R; skips the test where it is missing.

    Args:
        name: of the file among the recorded vectors.
        excerpt: the golden that holds some of its entries; None: the golden is a copy, ``uni3r_{name}`` or ``name``.
    """
    goldens = (excerpt,) if excerpt else (f"uni3r_{name}", name)
    return find_vectors("parity_uni3r", name, *goldens)


def vectors(name: str, excerpt: str | None = None) -> dict[str, Tensor]:
    """All tensors of a vector file, or of its excerpt among the goldens."""
    return load_file(find(f"{name}.safetensors", excerpt and f"{excerpt}.safetensors"))


def figures(name: str, entry: str, excerpt: str) -> dict:
    """One entry of a JSON file of vectors; the golden ``excerpt`` holds nothing but this entry."""
    path = find(f"{name}.json", f"{excerpt}.json")
    content = json.loads(path.read_text())
    return content.get(entry, content)


def header(name: str, excerpt: str | None = None) -> dict:
    """The configuration in a vector file."""
    return metadata(find(f"{name}.safetensors", excerpt and f"{excerpt}.safetensors"))["config"]


@cache
def published_keys(name: str = "uni3r_keys") -> dict[str, list[int]]:
    """Published names and shapes, in the order of the file."""
    return json.loads(find(f"{name}.json").read_text())


@cache
def toy_keys(vector_file: str) -> dict[str, list[int]]:
    """Published names and shapes of the toy model of a vector file."""
    return figures("small_keys", vector_file, f"uni3r_{vector_file}_keys")


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
