"""The interface between multi-view transformers and dense heads: tokens per view and level."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from common.backbone.patch_embed import PatchGrid


@dataclass
class TokenPyramid:
    """Patch tokens of all views at four depths of a network. View 0 defines the world frame.

    Made by `common.backbone.multiview_backbone` and `common.backbone.alternating_backbone`, read by the heads.
    """

    levels: list[Tensor]
    """(B, V, N, C_level) each, fine to coarse; no class, camera, register or intrinsics tokens."""
    grid: PatchGrid
    """Patch grid of the N tokens."""
    camera_tokens: Tensor | None = None
    """(B, V, C) of the last level, where the decoder has camera tokens."""
