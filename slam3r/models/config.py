"""Sizes of the SLAM3R networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from common.backbone import Encoder, MultiviewDecoder
from common.heads import DPTHead, LinearHead


@dataclass(frozen=True)
class BackboneConfig:
    """All sizes of one network. The defaults are the published ones (ViT-L encoder, Base decoders)."""

    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    mlp_ratio: float = 4.0
    patch_size: int = 16
    head: str = "linear"
    """``linear`` (published) or ``dpt``."""
    point_activation: str = "exp"
    confidence_activation: str = "expp1"

    def to_dict(self) -> dict[str, Any]:
        """For ``config.json``."""
        return asdict(self)

    def build_encoder(self) -> Encoder:
        """A fresh encoder of this size."""
        return Encoder(self.encoder_width, self.encoder_depth, self.encoder_heads, self.patch_size, self.mlp_ratio)

    def build_decoder(self) -> MultiviewDecoder:
        """A fresh decoder of this size."""
        return MultiviewDecoder(
            self.encoder_width, self.decoder_width, self.decoder_depth, self.decoder_heads, self.mlp_ratio
        )

    def build_head(self) -> LinearHead | DPTHead:
        """A fresh point head of the kind named by ``head``.

        Raises:
            ValueError: for an unknown kind.
        """
        if self.head == "linear":
            return LinearHead(self.decoder_width, self.patch_size)
        if self.head == "dpt":
            return DPTHead(self.encoder_width, self.decoder_width, self.decoder_depth, self.patch_size)
        raise ValueError(f"unknown head {self.head!r}; expected 'linear' or 'dpt'")


def initialize_weights(model: nn.Module) -> None:
    """Initialization of CroCo v2: Xavier-uniform matrices, zero biases, unit norms."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d) and module.stride == module.kernel_size:
            nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
