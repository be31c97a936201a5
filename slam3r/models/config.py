"""Sizes of the SLAM3R networks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from common.backbone import Block, Encoder, MultiviewDecoder, StemAdapter
from common.heads import DPTHead, LinearHead, SmoothedLinearHead, dpt_levels

ModelT = TypeVar("ModelT", bound=nn.Module)


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
    """``linear`` (published), ``smoothed`` (the same with a correction across patches) or ``dpt``."""
    stem: bool = False
    """Whether I2P's decoder also reads what a convolutional network sees that was trained on photographs. The encoder's
    tokens, which L2W reads too, are the same with and without it."""
    point_activation: str = "exp"
    confidence_activation: str = "expp1"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        return asdict(self)

    def build_encoder(self) -> Encoder:
        """Build a freshly initialized encoder of this size."""
        return Encoder(
            self.encoder_width,
            self.encoder_depth,
            self.encoder_heads,
            self.patch_size,
            self.mlp_ratio,
        )

    def build_sight(self) -> StemAdapter | None:
        """Build what the decoder sees beside the encoder's tokens, if anything."""
        return StemAdapter(self.decoder_width, self.patch_size) if self.stem else None

    def build_decoder(self) -> MultiviewDecoder:
        """Build a freshly initialized decoder of this size."""
        return MultiviewDecoder(
            self.encoder_width, self.decoder_width, self.decoder_depth, self.decoder_heads, self.mlp_ratio
        )

    def build_head(self) -> LinearHead | DPTHead:
        """Build a freshly initialized point head of the kind ``head``.

        Raises:
            ValueError: for an unknown kind.
        """
        if self.head == "linear":
            return LinearHead(self.decoder_width, self.patch_size)
        if self.head == "smoothed":
            return SmoothedLinearHead(self.decoder_width, self.patch_size)
        if self.head == "dpt":
            widths = (self.encoder_width, *[self.decoder_width] * 3)
            return DPTHead(widths, patch_size=self.patch_size, levels=dpt_levels(self.decoder_depth))
        raise ValueError(f"unknown head {self.head!r}; expected 'linear', 'smoothed' or 'dpt'")


def initialize_weights(model: nn.Module) -> None:
    """Initialize the weights for training from scratch; published weights overwrite them.

    Xavier-uniform matrices, zero biases and unit norms as in CroCo v2, with two changes that small networks need to
    escape the constant solution: residual branches start small (GPT-2, Radford et al. 2019), so that tokens keep the
    image content, and linear heads start near a plane one unit in front of the camera.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d) and module.stride == module.kernel_size:
            nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for stack in model.modules():
            if isinstance(stack, nn.ModuleList):
                for block in stack:
                    if isinstance(block, Block):
                        _shrink_branches(block, 1 / math.sqrt(2 * len(stack)))
        for part in model.modules():
            if isinstance(part, (StemAdapter, SmoothedLinearHead)):
                part.start_at_zero()
        for head in model.modules():
            if isinstance(head, LinearHead):
                head.projection.weight.mul_(0.1)
                head.projection.bias.view(head.channels, -1)[2] = math.log(2)  # expm1(log 2) = 1


def with_fresh_confidence(model: ModelT, enabled: bool = True) -> ModelT:
    """Reset the confidences of a model's linear heads to 2 everywhere, if `enabled`.

    While the errors of a network exceed the loss's alpha, its confidences settle at 1, where their gradient vanishes;
    this resets them for a training stage with a larger alpha.
    """
    with torch.no_grad():
        for head in model.modules() if enabled else ():
            if isinstance(head, LinearHead):
                head.projection.weight.view(head.channels, -1)[-1].zero_()
                head.projection.bias.view(head.channels, -1)[-1].zero_()
    return model


def _shrink_branches(block: Block, factor: float) -> None:
    block.self_attention.projection.weight.mul_(factor)
    block.mlp.fc2.weight.mul_(factor)
    if block.cross_attention is not None:
        block.cross_attention.projection.weight.mul_(factor)
