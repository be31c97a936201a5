"""Sizes of Uni3R and of VGGT, and how their parts are built from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import nn

from common.backbone import (
    AlternatingBackbone,
    AlternatingDecoder,
    Encoder,
    IntrinsicsEmbedding,
    MultiviewBackbone,
    MultiviewDecoder,
    StemAdapter,
)
from common.backbone.alternating_backbone import alternating_levels
from common.backbone.intrinsics import Normalization
from common.heads import DPTHead, LinearHead, SmoothedLinearHead, dpt_levels
from uni3r.models.attributes import AttributeSettings
from uni3r.models.heads import AttributeHead, RoleHeads

VGGT_LAST_WIDTH = 32
"""Channels before the last layer of VGGT's dense heads."""
VGGT_VIEWS_PER_PASS = 8


@dataclass(frozen=True)
class Uni3RConfig:
    """All sizes. The defaults are Uni3R as published; `uni3r_tiny` and `uni3r_multiview` are in ``configs/model``."""

    decoder: Literal["alternating", "multiview"] = "alternating"
    """``alternating``: VGGT's; released weights. ``multiview``: SLAM3R's, and with two views DUSt3R's."""
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    patch_size: int = 16
    mlp_ratio: float = 4.0
    table_side: int = 16
    """Cells per side of the encoder's position table (alternating only)."""
    decoder_width: int = 1024
    """Must equal the encoder's width with ``alternating``."""
    decoder_depth: int = 24
    """Layers; with ``alternating``, pairs of blocks."""
    decoder_heads: int = 16
    checkpointing: bool = False
    """In training, recompute the blocks in the backward pass: about a third more time, much less memory."""
    intrinsics: Literal["none", "add", "token"] = "token"
    """Way in which the network receives the cameras' intrinsics; ``add`` only with the multiview decoder."""
    intrinsics_normalization: Normalization = "height"
    """``height`` as published; ``per_axis`` for images that are not square."""
    stem: bool = False
    """Whether the decoder also reads what a convolutional network sees that was trained on photographs (multiview
    only), as in `slam3r.models.config.BackboneConfig`."""
    point_head: Literal["dpt", "linear", "smoothed"] = "dpt"
    """``linear`` is SLAM3R's head, ``smoothed`` the same with a correction across patches; both only with the multiview
    decoder."""
    point_activation: str = "inv_log"
    """``inv_log`` for VGGT's weights, ``exp`` for DUSt3R's and SLAM3R's."""
    confidence_activation: str = "expp1"
    dpt_width: int = 256
    """Channels of the fusion path of the dense heads."""
    dpt_channels: tuple[int, ...] = (256, 512, 1024, 1024)
    """Channels of the four levels before the fusion."""
    separate_attribute_heads: bool = True
    """One attribute head for the reference and one for the sources, or one for all (multiview only)."""
    camera_head: bool = False
    """VGGT's camera head (alternating only), inaccurate in released weights; see `uni3r.models.camera_head`."""
    depth_head: bool = False
    """VGGT's depth head (alternating only). Never trained in released Uni3R weights."""
    centres: Literal["free", "rays"] = "free"
    """Gaussian centres: ``free``, the points of the point head (published), or these points moved to the viewing rays
    of their pixels (`uni3r.models.ray_alignment`), which needs intrinsics."""
    teacher_channels: int = 512
    """Channels of the semantic teacher; 0 when the Gaussians carry the teacher's features themselves."""
    attributes: AttributeSettings = field(default_factory=AttributeSettings)

    def __post_init__(self) -> None:
        if self.attributes.depth_correction and self.centres != "rays":
            raise ValueError("depth_correction: only with centres on rays")
        if self.attributes.least_pixels and self.centres != "rays":
            raise ValueError("least_pixels: only with centres on rays")
        if self.decoder == "multiview":
            wrong = [name for name in ("camera_head", "depth_head") if getattr(self, name)]
            if wrong:
                raise ValueError(f"{' and '.join(wrong)}: only with the alternating decoder")
        else:
            if self.decoder_width != self.encoder_width:
                raise ValueError("decoder_width: the alternating decoder has the encoder's width")
            if self.intrinsics == "add" or self.point_head != "dpt" or self.stem:
                raise ValueError("intrinsics=add, point_head other than dpt, and stem: only with the multiview decoder")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        return asdict(self)

    @property
    def is_alternating(self) -> bool:
        """Whether the decoder is VGGT's."""
        return self.decoder == "alternating"

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Token channels of the pyramid, fine to coarse."""
        if self.is_alternating:
            return (2 * self.decoder_width,) * 4
        return (self.encoder_width, *[self.decoder_width] * 3)

    def build_backbone(self) -> AlternatingBackbone | MultiviewBackbone:
        """Build the backbone, images to a token pyramid."""
        intrinsics = None
        if self.intrinsics != "none":
            intrinsics = IntrinsicsEmbedding(
                self.encoder_width, self.intrinsics_normalization, start_at_zero=self.intrinsics == "add"
            )
        return self._alternating(intrinsics) if self.is_alternating else self._multiview(intrinsics)

    def _alternating(self, intrinsics: IntrinsicsEmbedding | None) -> AlternatingBackbone:
        encoder = Encoder(
            self.encoder_width,
            self.encoder_depth,
            self.encoder_heads,
            self.patch_size,
            self.mlp_ratio,
            rope_base=None,
            class_token=True,
            num_registers=4,
            table_side=self.table_side,
            layer_scale=1.0,
            final_norm=True,
            checkpointing=self.checkpointing,
        )
        decoder = AlternatingDecoder(
            self.decoder_width,
            self.decoder_depth,
            self.decoder_heads,
            self.mlp_ratio,
            checkpointing=self.checkpointing,
        )
        return AlternatingBackbone(encoder, decoder, intrinsics, alternating_levels(self.decoder_depth))

    def _multiview(self, intrinsics: IntrinsicsEmbedding | None) -> MultiviewBackbone:
        encoder = Encoder(
            self.encoder_width,
            self.encoder_depth,
            self.encoder_heads,
            self.patch_size,
            self.mlp_ratio,
            checkpointing=self.checkpointing,
        )
        decoder = MultiviewDecoder(
            self.encoder_width,
            self.decoder_width,
            self.decoder_depth,
            self.decoder_heads,
            self.mlp_ratio,
            checkpointing=self.checkpointing,
        )
        how: Literal["add", "token"] = "token" if self.intrinsics == "token" else "add"
        sight = StemAdapter(self.decoder_width, self.patch_size) if self.stem else None
        return MultiviewBackbone(encoder, decoder, intrinsics, how, dpt_levels(self.decoder_depth), sight)

    def build_point_head(self) -> nn.Module:
        """Build the point head, levels to raw points and confidences."""
        if self.is_alternating:
            return self.build_dense_head(channels=4)
        return RoleHeads(self._role_point_head(), self._role_point_head())

    def _role_point_head(self) -> nn.Module:
        if self.point_head == "linear":
            return LinearHead(self.decoder_width, self.patch_size)
        if self.point_head == "smoothed":
            return SmoothedLinearHead(self.decoder_width, self.patch_size)
        return DPTHead(self.level_widths, patch_size=self.patch_size, views_per_pass=VGGT_VIEWS_PER_PASS)

    def build_dense_head(self, channels: int) -> DPTHead:
        """Dense head in VGGT's style, with this number of output channels."""
        return DPTHead(
            self.level_widths,
            self.dpt_channels,
            self.dpt_width,
            VGGT_LAST_WIDTH,
            channels,
            self.patch_size,
            views_per_pass=VGGT_VIEWS_PER_PASS,
            **self._body,
        )

    def build_attribute_head(self) -> nn.Module:
        """Build the attribute head, levels and images to raw attributes."""
        if self.is_alternating or not self.separate_attribute_heads:
            return self._attribute_head()
        return RoleHeads(self._attribute_head(), self._attribute_head())

    def _attribute_head(self) -> AttributeHead:
        return AttributeHead(
            self.level_widths, self.attributes, self.dpt_channels, self.dpt_width, self.patch_size, **self._body
        )

    @property
    def _body(self) -> dict[str, Any]:
        """Options of the DPT body: VGGT's for the alternating decoder, DUSt3R's for the multiview decoder."""
        names = ("token_norm", "position_map", "skip_after_activation", "match_next_level")
        return dict.fromkeys(names, self.is_alternating)
