"""The file of a session checkpoint: safetensors, with what is not a tensor as JSON in its header. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.errors import CheckpointError
from common.files import atomic_path

VERSION = 2
_SEPARATOR = "/"


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a nested state; the file is complete or not there.

    Args:
        path: of the file; replaced if it exists.
        state: dictionaries with string keys, whose leaves are tensors or what JSON can hold.
    """
    tensors: dict[str, Tensor] = {}
    values = _split(state, "", tensors)
    # Tensors made under inference_mode, views and shared storage are all fine once copied.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"session": json.dumps({"version": VERSION, "state": values})})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a nested state; tensors are on the CPU and own their memory.

    Raises:
        CheckpointError: not such a file, one of another version, or a damaged one.
    """
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get("session")
            if header is None:
                raise CheckpointError(f"{path} is a safetensors file, but not of a live session")
            content = json.loads(header)
            if content.get("version") != VERSION:
                raise CheckpointError(
                    f"{path} has session version {content.get('version')}, this program reads {VERSION}; finish the "
                    "session with the program that wrote it, or begin a new one"
                )
            for name in file.keys():  # noqa: SIM118 (no dictionary)
                *parents, own = name.split(_SEPARATOR)
                place = content["state"]
                for parent in parents:
                    place = place[parent]
                place[own] = file.get_tensor(name)
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a session checkpoint, or damaged: {error}") from error
    return content["state"]


def _split(state: Mapping[str, Any], prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The state without its tensors, which are collected under their path of keys."""
    values: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
        else:
            is_nested = isinstance(value, Mapping)
            values[name] = _split(value, f"{prefix}{name}{_SEPARATOR}", tensors) if is_nested else value
    return values
