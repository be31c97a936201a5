"""Reading weights and their configs from files of any origin: nothing in them is run, and what they are is said.

PyTorch files are read with ``weights_only=True``, by memory map where their format allows it (not the one from before
PyTorch 1.6, in which torchvision's older weights are kept).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from common.errors import CheckpointError

_STATE_KEYS = ("model", "state_dict")
_LFS = b"version https://git-lfs"
_WEB_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml|head|body)", re.IGNORECASE)
_REFUSED = re.compile(r"GLOBAL ([\w.]+)|Unsupported (?:global|class|operand)[^\w]*([\w.]+)?")
_NUMBERS = ("width", "depth", "heads", "ratio", "patch_size")
_LARGEST_SIZE = 1 << 16
"""Width, depth or number of heads of a network; the largest published one has 14,336."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a ``.safetensors``, ``.pth``, ``.pt``, ``.bin`` or ``.ckpt`` file.

    Raises:
        CheckpointError: naming the file, when it is missing, damaged, or holds something other than dense tensors by
            name.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    _check_beginning(path)
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            # Training checkpoints of this family carry their command line; a namespace executes nothing.
            with torch.serialization.safe_globals([argparse.Namespace]):
                mapped = zipfile.is_zipfile(path)
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # damaged pickles raise whatever their opcodes run into
        raise CheckpointError(f"{path} is not a readable checkpoint: {failure_reason(error)}") from error
    for key in _STATE_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no state dict (expected names to tensors, bare or under 'model')")
    for key, value in content.items():
        if not isinstance(key, str):
            raise CheckpointError(f"{path} names its tensors by {type(key).__name__} ({key!r}), expected text")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise CheckpointError(f"{path}: {key} is sparse, quantized or empty; expected dense tensors")
    return {key.removeprefix("module."): value for key, value in content.items()}


def read_model_config(path: Path, expected: str) -> dict[str, Any]:
    """The sizes in a ``config.json``, checked as far as they can be without the model.

    Args:
        path: of the file.
        expected: name of the model's class; a file that says another is refused.

    Raises:
        CheckpointError: naming the file and the entry.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}, expected an object with the sizes of the model")
    stored = config.pop("model", expected)
    config.pop("metadata", None)
    if isinstance(stored, str) and stored != expected:
        raise CheckpointError(f"{path} describes a {stored}, not a {expected}")
    return config


def check_sizes(sizes: Mapping[str, Any], tensors: int, where: str) -> None:
    """Check that sizes can be those of a model with so many tensors, before anything is built from them.

    Raises:
        CheckpointError: naming the entry: a size that is no number, negative, zero, not finite or beyond reason.
    """
    for name, given in sizes.items():
        if name.endswith(_NUMBERS) and isinstance(given, (str, dict)):
            raise CheckpointError(f"{where}: {name}={given!r} is no number")
    for name, value in _numbers(sizes):
        if not _is_size(name):
            if not math.isfinite(value):
                raise CheckpointError(f"{where}: {name}={value} is not finite")
            continue
        limit = max(1, tensors) if "depth" in name else _LARGEST_SIZE  # every layer has a tensor at least
        if not 0 < value <= limit:
            raise CheckpointError(f"{where}: {name}={value} is no size of a model (expected 1 to {limit})")


def _numbers(sizes: Mapping[str, Any]) -> list[tuple[str, float]]:
    found = []
    for name, value in sizes.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, (int, float)) and not isinstance(item, bool):
                found.append((name, item))
    return found


def _is_size(name: str) -> bool:
    return any(part in name for part in ("width", "depth", "heads", "patch", "ratio", "side"))


def _check_beginning(path: Path) -> None:
    """Downloads that went wrong, told by their first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    if not start:
        raise CheckpointError(f"{path} is empty; the download did not finish")
    if start.startswith(_LFS):
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`"
        )
    if _WEB_PAGE.match(start):
        raise CheckpointError(f"{path} is a web page, not weights; the download was answered by a page")


def failure_reason(error: Exception) -> str:
    """One line of why, without torch's advice to read the file unsafely."""
    text = str(error)
    if "weights_only" in text.lower() or "weights only" in text.lower():
        refused = _REFUSED.search(text)
        name = next((group for group in refused.groups() if group), None) if refused else None
        return f"it holds objects other than tensors{f' ({name})' if name else ''}, which are not read"
    if isinstance(error, (SafetensorError, OSError, RuntimeError)) and text:
        return text.splitlines()[0][:200]
    return f"damaged ({type(error).__name__})"
