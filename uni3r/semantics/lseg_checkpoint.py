"""Reading LSeg's published weights: the Lightning file ``demo_e200.ckpt``, or the copy inside a Uni3R file."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from common.checkpoints.families.key_map import KeyMap
from common.checkpoints.families.lseg import LSEG_IMAGE, lseg_tensors
from common.checkpoints.hub import LoadReport
from common.checkpoints.inert import inert_globals
from common.checkpoints.reading import read_state_dict
from common.errors import CheckpointError
from common.paths import user_path
from uni3r.semantics.lseg import LSeg, LSegSizes

_TRAINERS = ("pytorch_lightning", "lightning")
_HEAD_DIM = 64  # channels per attention head of the ViT; not visible in the shapes


def read_lseg(path: str | Path) -> dict[str, Tensor]:
    """Read LSeg's tensors under their bare published names, without unpickling any object.

    Args:
        path: ``demo_e200.ckpt``, a Uni3R file, or a safetensors file with the names of either.

    Raises:
        CheckpointError: the file cannot be read or holds no LSeg.
    """
    path = user_path(path)
    try:
        trainers = inert_globals(path, _TRAINERS)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    with trainers:
        state = lseg_tensors(read_state_dict(path))
    if state is None:
        raise CheckpointError(
            f"{path} holds no LSeg network: expected names like 'net.scratch.head1.weight' (demo_e200.ckpt) "
            "or 'lseg_feature_extractor.scratch.head1.weight' (a Uni3R file)"
        )
    return state


def lseg_from_state(state: Mapping[str, Tensor], source: str, num_heads: int | None = None) -> LSeg:
    """Build the image network from the result of `read_lseg`; every tensor must fit.

    Args:
        state: published names to tensors, of any floating type.
        source: name of the source in error messages.
        num_heads: attention heads of the ViT; None takes 64 channels per head, as published.

    Raises:
        CheckpointError: naming every tensor that is missing, unknown or of another shape.
    """
    sizes = _sizes(state, source)
    with torch.device("meta"):  # no random initialization: all weights are replaced
        network = LSeg(sizes if num_heads is None else replace(sizes, num_heads=num_heads))
    fill_strictly(network, state, LSEG_IMAGE, source)
    return network.requires_grad_(False).eval()


def fill_strictly(module: nn.Module, state: Mapping[str, Tensor], key_map: KeyMap, source: str) -> None:
    """Load a published state dict into a module as float32; no tensor may be missing or unexpected.

    Raises:
        CheckpointError: naming every tensor that is missing, unknown or of another shape.
    """
    converted = {key: _float32(tensor) for key, tensor in key_map.convert(state).items()}
    own = module.state_dict()
    report = LoadReport(source, key_map.name)
    report.missing = [key for key in own if key not in converted]
    report.unexpected = [key for key in converted if key not in own]
    report.mismatched = [
        f"{key} ({tuple(converted[key].shape)} in the checkpoint, {tuple(tensor.shape)} in the model)"
        for key, tensor in own.items()
        if key in converted and converted[key].shape != tensor.shape
    ]
    if not report.fits:
        raise CheckpointError(f"{type(module).__name__} does not fit {report.describe()}")
    module.load_state_dict(converted, assign=True)


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _sizes(state: Mapping[str, Tensor], source: str) -> LSegSizes:
    try:
        width = state["pretrained.model.cls_token"].shape[-1]
        cells = state["pretrained.model.pos_embed"].shape[1] - 1
        channels, fusion_width = state["scratch.head1.weight"].shape[:2]
        level_channels = tuple(state[f"pretrained.act_postprocess{level}.3.weight"].shape[0] for level in range(1, 5))
    except KeyError as error:
        raise CheckpointError(f"{source} holds no whole LSeg network: {error} is missing") from None
    depth = len({match[0] for key in state if (match := re.match(r"pretrained\.model\.blocks\.\d+\.", key))})
    return LSegSizes(
        width=width,
        depth=depth,
        num_heads=max(1, width // _HEAD_DIM),
        table_side=math.isqrt(cells),
        level_channels=level_channels,
        fusion_width=fusion_width,
        channels=channels,
    )
