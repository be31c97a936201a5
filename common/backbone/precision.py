"""Reduced precision for inference: matrix products in bfloat16, everything else in float32."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from common.backbone.blocks import Block
from common.backbone.multiview_decoder import MultiviewDecoder
from common.backbone.patch_embed import PatchEmbed

ModelT = TypeVar("ModelT", bound=nn.Module)


def set_compute_dtype(model: ModelT, dtype: torch.dtype) -> ModelT:
    """Convert the matrix products of all blocks to ``dtype``, once.

    Norms, residual streams, patch embedding and heads stay in float32: they are a small share of the time, and
    rounding them costs accuracy. Unlike autocast this casts no weight per call, which at the published size would
    move gigabytes for every window.

    Args:
        model: any model built from `common.backbone`.
        dtype: ``torch.float32`` or ``torch.bfloat16``.

    Returns:
        The model, changed in place.
    """
    for module in model.modules():
        if isinstance(module, Block):
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    layer.to(dtype)
        elif isinstance(module, MultiviewDecoder):
            module.embed.to(dtype)
        elif isinstance(module, PatchEmbed):
            module.float()
    return model
