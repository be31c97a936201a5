"""The shared vision transformer: patch embedding, rotary positions, blocks, encoder and decoders."""

from common.backbone.blocks import Block
from common.backbone.encoder import Encoder
from common.backbone.multiview_decoder import DecoderStreams, MultiviewDecoder
from common.backbone.patch_embed import PatchEmbed, PatchGrid
from common.backbone.rope import Rotary, rotary_from_positions

__all__ = [
    "Block",
    "DecoderStreams",
    "Encoder",
    "MultiviewDecoder",
    "PatchEmbed",
    "PatchGrid",
    "Rotary",
    "rotary_from_positions",
]
