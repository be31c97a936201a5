"""Common base of Uni3R and VGGT: images to a token pyramid, and from it points, depth and cameras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from common.backbone import TokenPyramid
from common.checkpoints.hub import PretrainedModel
from common.configuration import to_dataclass
from common.heads.activations import activate, activate_confidence
from common.views import Pointmaps, TensorFields
from uni3r.models.camera_head import CameraHead
from uni3r.models.config import Uni3RConfig
from uni3r.models.weight_adaptation import adapt_patch_kernel, adapt_position_table, table_side

HEAD_DIM = 64
"""Channels per attention head of all published models; not visible in the shapes."""
_KERNEL = "backbone.encoder.patch_embed.projection.weight"
_TABLE = "backbone.encoder.position_table.entries"
_RELATED_NAMES = (
    ("encoder.", "backbone.encoder."),
    ("decoder.", "backbone.decoder."),
    ("sight.", "backbone.sight."),
    ("reference_head.", "point_head.reference."),
    ("source_head.", "point_head.source."),
)
"""Names of SLAM3R's Image-to-Points (and so, through the key maps, of DUSt3R and CroCo) to names here."""


@dataclass
class Geometry(TensorFields):
    """Predicted geometry of the scene, in the frame of view 0, up to scale unless trained otherwise."""

    pointmaps: Pointmaps
    """(B, V, H, W, 3) points of all views in the frame of view 0, with confidences."""
    depth: Tensor | None = None
    """(B, V, H, W) along each view's own axis; where there is a depth head."""
    depth_confidence: Tensor | None = None
    """(B, V, H, W), above 1."""
    pose_encoding: Tensor | None = None
    """(B, V, 9), see `uni3r.models.pose_encoding`; where there is a camera head."""


class GeometryModel(PretrainedModel):
    """Backbone, point head and, by config, depth head and camera head."""

    config: Uni3RConfig
    ignored_prefixes: tuple[str, ...] = ("camera_head.", "depth_head.", "attribute_head.", "feature_compressor.")

    def __init__(self, **sizes: Any) -> None:
        """
        Args:
            **sizes: fields of `Uni3RConfig`; what is not given has the published value.
        """
        super().__init__()
        self.config = to_dataclass(sizes, Uni3RConfig)
        self.backbone = self.config.build_backbone()
        self.point_head = self.config.build_point_head()
        self.depth_head = self.config.build_dense_head(channels=2) if self.config.depth_head else None
        self.camera_head = CameraHead(self.config.level_widths[-1]) if self.config.camera_head else None

    def geometry(self, pyramid: TokenPyramid) -> Geometry:
        """Points, depth and cameras from tokens."""
        levels, grid = pyramid.levels, pyramid.grid
        raw = self.point_head(levels, grid)
        result = Geometry(activate(raw, self.config.point_activation, self.config.confidence_activation))
        if self.depth_head is not None:
            raw = self.depth_head(levels, grid)
            result.depth = raw[..., 0].exp()
            result.depth_confidence = activate_confidence(raw[..., 1])
        if self.camera_head is not None:
            assert pyramid.camera_tokens is not None
            result.pose_encoding = self.camera_head(pyramid.camera_tokens)[-1]
        return result

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adapt weights of related models to the names, patch size and position grid of this one."""
        adapted = {_renamed(name): tensor for name, tensor in state.items()}
        own = self.state_dict()
        for name, resample in ((_KERNEL, adapt_patch_kernel), (_TABLE, adapt_position_table)):
            if name in adapted and name in own and adapted[name].shape != own[name].shape:
                size = own[name].shape[-1] if name == _KERNEL else self.config.table_side
                adapted[name] = resample(adapted[name], size)
        return adapted

    @classmethod
    def infer_config(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Infer sizes from the shapes of a state dict under our names; sizes that they do not show are left out.

        Numbers of heads follow from 64 channels per head. Camera and depth heads are not requested: see `Uni3RConfig`.
        """
        sizes: dict[str, Any] = {}
        if _KERNEL not in state:
            return sizes
        sizes["encoder_width"], _, _, sizes["patch_size"] = state[_KERNEL].shape
        sizes["encoder_depth"] = _count(state, r"backbone\.encoder\.blocks\.(\d+)\.")
        sizes["decoder_depth"] = _count(state, r"backbone\.decoder\.\w+_blocks\.(\d+)\.")
        is_alternating = any(name.startswith("backbone.decoder.frame_blocks.") for name in state)
        sizes["decoder"] = "alternating" if is_alternating else "multiview"
        embed = state.get("backbone.decoder.embed.weight")
        sizes["decoder_width"] = sizes["encoder_width"] if embed is None else embed.shape[0]
        sizes["intrinsics"] = "token" if "backbone.intrinsics.projection.weight" in state else "none"
        for part in ("encoder", "decoder"):
            sizes[f"{part}_heads"] = max(1, sizes[f"{part}_width"] // HEAD_DIM)
        if _TABLE in state:
            sizes["table_side"] = table_side(state[_TABLE].shape[1])
        for head in ("point_head.", "attribute_head.", "attribute_head.reference."):
            sizes |= _dpt_sizes(state, head)
        return sizes


def _dpt_sizes(state: Mapping[str, Tensor], head: str) -> dict[str, Any]:
    """Widths of a dense head, read off its shapes."""
    body = f"{head}features.body."
    if f"{body}to_width.0.weight" not in state:
        return {}
    channels = tuple(state[f"{body}projections.{level}.weight"].shape[0] for level in range(4))
    return {"dpt_width": state[f"{body}to_width.0.weight"].shape[0], "dpt_channels": channels}


def _renamed(name: str) -> str:
    for theirs, ours in _RELATED_NAMES:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    return name


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match.group(1) for name in state if (match := re.match(pattern, name))})
