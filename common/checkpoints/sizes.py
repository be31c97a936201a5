"""Sizes of a model, from the tensor shapes of a checkpoint or from a published config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

HEAD_DIM = 64
"""Channels per attention head of all published models of this family; not visible in the shapes."""

_PUBLISHED_NAMES = {
    "enc_embed_dim": "encoder_width",
    "enc_depth": "encoder_depth",
    "enc_num_heads": "encoder_heads",
    "dec_embed_dim": "decoder_width",
    "dec_depth": "decoder_depth",
    "dec_num_heads": "decoder_heads",
    "mlp_ratio": "mlp_ratio",
    "patch_size": "patch_size",
    "head_type": "head",
}

_PATCH_PROJECTIONS = ("encoder.patch_embed.projection.weight", "pointmap_embedding.patches.projection.weight")


def sizes_from_published_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes in a published ``config.json`` under our names; other entries are dropped."""
    return {ours: config[theirs] for theirs, ours in _PUBLISHED_NAMES.items() if theirs in config}


def infer_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes from a state dict under our names.

    Depths, widths and the patch size follow from the shapes; the number of heads follows from 64 channels per head,
    which holds for all published models. What the state does not show is left out, so that the model's defaults apply.
    """
    sizes: dict[str, Any] = {}
    if "decoder.embed.weight" in state:
        sizes["decoder_width"], sizes["encoder_width"] = state["decoder.embed.weight"].shape
        sizes["encoder_heads"] = max(1, sizes["encoder_width"] // HEAD_DIM)
        sizes["decoder_heads"] = max(1, sizes["decoder_width"] // HEAD_DIM)
    depth = _count(state, r"decoder\.reference_blocks\.(\d+)\.")
    if depth:
        sizes["decoder_depth"] = depth
    depth = _count(state, r"encoder\.blocks\.(\d+)\.")
    if depth:
        sizes["encoder_depth"] = depth
    hidden = state.get("decoder.reference_blocks.0.mlp.fc1.weight")
    if hidden is not None:
        sizes["mlp_ratio"] = hidden.shape[0] / hidden.shape[1]
    for name in _PATCH_PROJECTIONS:
        if name in state:
            sizes["patch_size"] = state[name].shape[-1]
    if any(key.startswith("reference_head.features.body.") for key in state):
        sizes["head"] = "dpt"
    elif any(key.startswith("reference_head.look.") for key in state):
        sizes["head"] = "smoothed"
    if any(key.startswith("sight.") for key in state):
        sizes["stem"] = True
    return sizes


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match.group(1) for key in state if (match := re.match(pattern, key))})
