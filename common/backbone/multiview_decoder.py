"""The multi-view decoder of SLAM3R: reference and source streams that read each other.

Two stacks of blocks run side by side; in every layer the references read all sources and the sources read all
references, both from the streams of the previous layer, pooled by the maximum over the views that are read
(SLAM3R, Liu, Dong et al. 2025, section 3.2). With one reference and one source there is nothing to pool, and this
is the two-branch decoder of DUSt3R (Wang et al. 2024); `tests/slam3r/models/test_parity_models.py` checks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from common.backbone.attention import Memory
from common.backbone.blocks import Block, run_block
from common.backbone.patch_embed import PatchGrid
from common.backbone.rope import DEFAULT_BASE, Rotary
from common.backbone.view_start import Role, ViewStart


@dataclass
class DecoderStreams:
    """Token streams that the heads read. A stream that was not requested is an empty list."""

    references: list[Tensor] = field(default_factory=list)
    """[encoder tokens after the norm, block 1, .., block L], each (B, R, N, C); the last block normalized."""
    sources: list[Tensor] = field(default_factory=list)
    """The same for the S source views."""


class _LayerInput(NamedTuple):
    """One role's views at the beginning of a layer."""

    stream: Tensor
    """(B, V, N, C)."""
    memory: Tensor | Memory
    """Input of the other role's cross attention: the stream, or the keys and values made of it."""
    attended: bool
    """The stream has this layer's self attention behind it."""

    @staticmethod
    def of(stream: Tensor, embedding: Tensor | None) -> _LayerInput:
        """From the stream after the last layer, and what is added at the beginning of every one."""
        stream = stream if embedding is None else stream + embedding
        return _LayerInput(stream, stream, False)


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
        references: Tensor | ViewStart,
        sources: Tensor | ViewStart,
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
            references: (B, R, N, E) encoder tokens of the references, not normalized; or their `start`, which brings
                its own embedding.
            sources: (B, S, N, E) of the sources, or their `start`. A batch of one on either side broadcasts to the
                batch of the other; what does not depend on the item is then computed once.
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
        tokens, reference, reference_embedding = self._enter(references, reference_embedding)
        rotary = rotary or grid.rotary(self.head_dim, self.rope_base, tokens.device)
        streams = DecoderStreams([tokens])
        tokens, source, source_embedding = self._enter(sources, source_embedding)
        streams.sources.append(tokens)
        for layer in range(num_layers):
            last = layer == num_layers - 1
            previous_reference, previous_source = reference, source
            # In the last layer a stream that was not requested serves as memory only.
            if want_references or not last:
                block = self.reference_blocks[layer]
                updated = self._run(block, previous_reference, previous_source, rotary, memory_chunk)
                streams.references += [updated] if want_references else []
                reference = _LayerInput.of(updated, None if last else reference_embedding)
            if want_sources or not last:
                block = self.source_blocks[layer]
                updated = self._run(block, previous_source, previous_reference, rotary, memory_chunk)
                streams.sources += [updated] if want_sources else []
                source = _LayerInput.of(updated, None if last else source_embedding)
        return self._finish(streams, want_references, want_sources, num_layers)

    def start(self, tokens: Tensor, grid: PatchGrid, role: Role, embedding: Tensor | None = None) -> ViewStart:
        """Compute what views bring into the first cross attention, for `forward` to take in place of their tokens.

        Args:
            tokens: (B, V, N, E) encoder tokens, not normalized.
            grid: their patch grid.
            role: of the views in the decoder.
            embedding: (B, V, N, C), see `forward`.
        """
        rotary = grid.rotary(self.head_dim, self.rope_base, tokens.device)
        stream = _LayerInput.of(self._embed(self.token_norm(tokens)), embedding).stream
        own, others = self.reference_blocks[0], self.source_blocks[0]
        if role == "source":
            own, others = others, own
        assert isinstance(own, Block) and isinstance(others, Block)
        return ViewStart(tokens, own.attend_self(stream, rotary), others.remember(stream, rotary), embedding)

    def _enter(self, views: Tensor | ViewStart, embedding: Tensor | None) -> tuple[Tensor, _LayerInput, Tensor | None]:
        """Encoder tokens after the norm, input of the first layer, and what is added to that of every other one."""
        if isinstance(views, ViewStart):
            return self.token_norm(views.tokens), _LayerInput(views.attended, views.memory, True), views.embedding
        normed = self.token_norm(views)
        return normed, _LayerInput.of(self._embed(normed), embedding), embedding

    def _embed(self, normed: Tensor) -> Tensor:
        """(B, V, N, E) to the streams (B, V, N, C) in float32."""
        return self.embed(normed.to(self.embed.weight.dtype)).float()

    def _run(
        self, block: nn.Module, views: _LayerInput, others: _LayerInput, rotary: Rotary, memory_chunk: int | None
    ) -> Tensor:
        arguments = views.stream, rotary, others.memory, memory_chunk, views.attended
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
