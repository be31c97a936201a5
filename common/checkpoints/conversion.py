"""Conversion of published checkpoints to our format (config.json, model.safetensors), without unused parts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from common.checkpoints.detect import UNI3R, UNI3R_TEACHER, KeyMap, detect_key_map
from common.checkpoints.hub import PretrainedModel
from common.checkpoints.location import CONFIG_NAME, WEIGHTS_NAME
from common.checkpoints.reading import check_sizes, read_state_dict
from common.errors import CheckpointError
from common.files import atomic_path, atomic_write


@dataclass(frozen=True)
class Converted:
    """Result of a conversion: written and dropped tensors."""

    folder: Path
    family: str
    config: dict[str, Any]
    tensors: int
    parameters: int
    dropped: dict[str, int]
    """Numbers of published tensors that have no place in the network, by the start of their names."""


def read_family(path: Path, teacher: bool = False) -> tuple[dict[str, Tensor], KeyMap]:
    """Memory-mapped tensors of a published file, and the key map of their names.

    Args:
        path: a whole file.
        teacher: take the teacher out of a Uni3R file in place of the model.

    Raises:
        CheckpointError: the file is unreadable or of no known family; the message names it.
    """
    state = read_state_dict(path)
    key_map = detect_key_map(state)
    if key_map is None:
        some = ", ".join(list(state)[:3])
        raise CheckpointError(f"{path} is of no published family that we know (it holds {some}, ..)")
    if teacher:
        if key_map is not UNI3R or not any(key.startswith("distiller.") for key in state):
            raise CheckpointError(f"{path} holds no teacher (names that begin with 'distiller.')")
        key_map = UNI3R_TEACHER
    return state, key_map


def convert_checkpoint(
    state: Mapping[str, Tensor],
    key_map: KeyMap,
    network: type[PretrainedModel],
    output: Path,
    sizes: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Converted:
    """Write the part of a published checkpoint that a network uses. The weights are never all in memory twice.

    Args:
        state: published names.
        key_map: their family.
        network: class that is to load the result.
        output: folder, created if needed; each file is replaced atomically.
        sizes: override sizes inferred from the shapes, e.g. ``{"camera_head": True}`` to keep an optional part.
        dtype: type to store floating point weights in; None keeps theirs.
        metadata: further entries for the config.

    Raises:
        CheckpointError: tensors are missing in the file or have another shape; the message names them.
    """
    renamed = key_map.convert(state)
    config = {**network.infer_config(renamed), **(sizes or {})}
    check_sizes(config, len(state), "sizes")
    try:
        with torch.device("meta"):  # names and shapes alone
            model = network(**config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"sizes {config} do not build {network.__name__}: {str(error).splitlines()[0]}"
        ) from error
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    missing = sorted(set(own) - set(renamed))
    wrong = [
        f"{name} ({list(renamed[name].shape)}, expected {list(shape)})"
        for name, shape in own.items()
        if name in renamed and renamed[name].shape != shape
    ]
    if missing or wrong:
        faults = [f"lacks {', '.join(missing)}"] if missing else []
        faults += (
            [f"has another shape for {', '.join(wrong)}; give sizes={{...}} for a network of other sizes"]
            if wrong
            else []
        )
        raise CheckpointError(
            f"the checkpoint ({key_map.name}) does not fill {network.__name__}: it {'; '.join(faults)}"
        )
    kept = {name: _stored(renamed[name], dtype) for name in own}
    broken = [name for name, tensor in kept.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"the checkpoint ({key_map.name}) has NaN or infinite values in {', '.join(broken)}")
    output.mkdir(parents=True, exist_ok=True)
    with atomic_path(output / WEIGHTS_NAME) as temporary:
        save_file(kept, temporary, metadata={"format": "pt"})
    dropped = Counter(_group(key) for key in state if key_map.rename(key) not in own)
    described = {"converted_from": key_map.name, **(metadata or {})}
    content = {"model": network.__name__, **model.config.to_dict(), "metadata": described}
    with atomic_write(output / CONFIG_NAME, "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
    numbers = sum(tensor.numel() for tensor in kept.values())
    return Converted(output, key_map.name, config, len(kept), numbers, dict(dropped))


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    # A separate copy: safetensors rejects tensors that share memory.
    tensor = tensor.detach().contiguous()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _group(key: str) -> str:
    """Prefix of a published name that identifies its module, without numbers."""
    parts = key.split(".")
    depth = 2 if parts[0] in ("vggt", "distiller") and len(parts) > 2 else 1
    return re.sub(r"\d+", "N", ".".join(parts[:depth]))
