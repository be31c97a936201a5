"""The multi-view decoder of SLAM3R: reference and source streams that read each other.

Two stacks of blocks run side by side; in every layer the references read all sources and the sources read all
references, both from the streams of the previous layer, pooled by the maximum over the views that are read
(SLAM3R, Liu, Dong et al. 2025, section 3.2). With one reference and one source there is nothing to pool, and this
is the two-branch decoder of DUSt3R (Wang et al. 2024); `tests/slam3r/models/test_parity_models.py` checks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from common.backbone.blocks import Block, run_block
from common.backbone.patch_embed import PatchGrid
from common.backbone.rope import DEFAULT_BASE, Rotary


@dataclass
class DecoderStreams:
    """Token streams that the heads read. A stream that was not requested is an empty list."""

    references: list[Tensor] = field(default_factory=list)
    """[encoder tokens after the norm, block 1, .., block L], each (B, R, N, C); the last block normalized."""
    sources: list[Tensor] = field(default_factory=list)
    """The same for the S source views."""


class MultiviewDecoder(nn.Module):
    """Decodes any number of reference and source views jointly. See the module's text."""

    def __init__(
        self,
        encoder_width: int = 1024,
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-6,
        rope_base: float = DEFAULT_BASE,
        checkpointing: bool = False,
    ) -> None:
        """
        Args:
            encoder_width: channels of the incoming tokens.
            width: channels of the decoder's streams.
            depth: layers.
            num_heads: attention heads of every block.
            checkpointing: see `common.backbone.encoder.Encoder`.
        """
        super().__init__()
        self.depth = depth
        self.head_dim = width // num_heads
        self.rope_base = rope_base
        self.checkpointing = checkpointing
        self.token_norm = nn.LayerNorm(encoder_width, eps=norm_eps)
        self.embed = nn.Linear(encoder_width, width)

        def stack() -> nn.ModuleList:
            return nn.ModuleList(
                Block(width, num_heads, mlp_ratio, norm_eps, cross_attention=True) for _ in range(depth)
            )

        self.reference_blocks = stack()
        self.source_blocks = stack()
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(
        self,
        references: Tensor,
        sources: Tensor,
        grid: PatchGrid,
        reference_embedding: Tensor | None = None,
        source_embedding: Tensor | None = None,
        want_references: bool = True,
        want_sources: bool = True,
        num_layers: int | None = None,
        memory_chunk: int | None = None,
        rotary: Rotary | None = None,
    ) -> DecoderStreams:
        """
        Args:
            references: (B, R, N, E) encoder tokens of the references, not normalized.
            sources: (B, S, N, E) of the sources. A batch of one on either side broadcasts to the batch of the other;
                what does not depend on the item is then computed once.
            grid: patch grid of the tokens; with a mixed batch its ``transposed`` is per item.
            reference_embedding: (B, R, N, C), added to the stream at the input of every layer (so it accumulates
                in the residual), before self attention and before serving as memory; None adds nothing.
            source_embedding: the same for the sources.
            want_references: compute the references' last layer. Their layers before it run whenever the sources
                need them.
            want_sources: the same for the sources.
            num_layers: stop after this many layers; the result of a shortened pass is not normalized.
            memory_chunk: memory views attended at once (see `MaxPooledCrossAttention`).
            rotary: positions of the N tokens, where there are more than those of the grid; None takes the grid's.

        Returns:
            The requested streams.
        """
        num_layers = self.depth if num_layers is None else num_layers
        rotary = rotary or grid.rotary(self.head_dim, self.rope_base, references.device)
        dtype = self.embed.weight.dtype
        streams = DecoderStreams([self.token_norm(references)], [self.token_norm(sources)])
        reference = self.embed(streams.references[0].to(dtype)).float()
        source = self.embed(streams.sources[0].to(dtype)).float()
        for layer in range(num_layers):
            last = layer == num_layers - 1
            if reference_embedding is not None:
                reference = reference + reference_embedding
            if source_embedding is not None:
                source = source + source_embedding
            previous_reference, previous_source = reference, source
            # In the last layer a stream that was not requested serves as memory only.
            if want_references or not last:
                block = self.reference_blocks[layer]
                reference = self._run(block, previous_reference, rotary, previous_source, memory_chunk)
                streams.references += [reference] if want_references else []
            if want_sources or not last:
                block = self.source_blocks[layer]
                source = self._run(block, previous_source, rotary, previous_reference, memory_chunk)
                streams.sources += [source] if want_sources else []
        return self._finish(streams, want_references, want_sources, num_layers)

    def _run(self, block: nn.Module, *arguments: Any) -> Tensor:
        return run_block(block, *arguments, checkpointing=self.checkpointing)

    def _finish(
        self, streams: DecoderStreams, want_references: bool, want_sources: bool, num_layers: int
    ) -> DecoderStreams:
        for name, wanted in (("references", want_references), ("sources", want_sources)):
            outputs = getattr(streams, name)
            if not wanted:
                setattr(streams, name, [])
            elif num_layers == self.depth:
                outputs[-1] = self.norm(outputs[-1])
        return streams
