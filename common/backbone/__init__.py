"""The shared vision transformer: patch embedding, rotary positions, blocks, encoder and decoders."""

from common.backbone.alternating_backbone import AlternatingBackbone
from common.backbone.alternating_decoder import AlternatingDecoder
from common.backbone.blocks import Block
from common.backbone.encoder import Encoder
from common.backbone.intrinsics import IntrinsicsEmbedding
from common.backbone.multiview_backbone import MultiviewBackbone
from common.backbone.multiview_decoder import DecoderStreams, MultiviewDecoder
from common.backbone.patch_embed import PatchEmbed, PatchGrid
from common.backbone.position_table import PositionTable
from common.backbone.rope import Rotary, rotary_from_positions
from common.backbone.stem.adapter import StemAdapter
from common.backbone.token_pyramid import TokenPyramid
from common.backbone.view_start import ViewStart

__all__ = [
    "AlternatingBackbone",
    "AlternatingDecoder",
    "Block",
    "DecoderStreams",
    "Encoder",
    "IntrinsicsEmbedding",
    "MultiviewBackbone",
    "MultiviewDecoder",
    "PatchEmbed",
    "PatchGrid",
    "PositionTable",
    "Rotary",
    "StemAdapter",
    "TokenPyramid",
    "ViewStart",
    "rotary_from_positions",
]
