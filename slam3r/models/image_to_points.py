"""Image-to-Points (I2P): a window of images to pointmaps in the camera frame of one of them.

SLAM3R, Liu, Dong et al., CVPR 2025, section 3.2; the correlation score is its section 3.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common.backbone import PatchGrid, ViewStart
from common.backbone.blocks import Mlp
from common.backbone.multiview_decoder import DecoderStreams
from common.checkpoints.hub import PretrainedModel
from common.heads.activations import activate
from common.views import Pointmaps
from slam3r.models.config import BackboneConfig, initialize_weights

CORRELATION_LAYERS = 2
"""Decoder layers that run before the correlation score is read."""


class CorrelationHead(nn.Module):
    """Scores how well a source's tokens are explained by the reference."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # 1e-5, not the 1e-6 of all other norms: the published weights were trained with it.
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.mlp = Mlp(width, width, out=1)

    def forward(self, stream: Tensor) -> Tensor:
        """Source stream after two layers, (.., N, C), to logits (.., N)."""
        return self.mlp(self.norm(stream)).squeeze(-1)


class ImageToPoints(PretrainedModel):
    """Encoder, multi-view decoder with one reference, a point head per role, and the correlation head."""

    def __init__(self, **sizes: Any) -> None:
        """
        Args:
            **sizes: fields of `BackboneConfig`; what is not given has the published value.
        """
        super().__init__()
        self.config = BackboneConfig(**sizes)
        self.encoder = self.config.build_encoder()
        self.decoder = self.config.build_decoder()
        self.sight = self.config.build_sight()
        self.reference_head = self.config.build_head()
        self.source_head = self.config.build_head()
        self.correlation_head = CorrelationHead(self.config.decoder_width)
        initialize_weights(self)

    def encode(
        self, images: Tensor, transposed: Tensor | None = None, chunk: int | None = None
    ) -> tuple[Tensor, PatchGrid]:
        """Images to tokens, once per frame.

        Args:
            images: (B, V, 3, H, W) in [-1, 1].
            transposed: (B,) bool, items stored transposed; None when there are none.
            chunk: images per encoder pass; None takes all at once.

        Returns:
            Tokens (B, V, N, E), *not normalized*, and their grid. Every consumer applies its own norm. With a stem,
            E is larger than the encoder's width: what the stem sees follows the encoder's channels, and
            only this network reads it.
        """
        batch, views = images.shape[:2]
        per_image = None if transposed is None else transposed.repeat_interleave(views)
        tokens, grid = self.encoder(images.flatten(0, 1), per_image, chunk)
        if self.sight is not None:
            tokens = torch.cat([tokens, self._seen(images.flatten(0, 1), per_image, chunk)], dim=-1)
        # The decoder's items are windows, not images.
        turned = None if grid.transposed is None else transposed
        return tokens.unflatten(0, (batch, views)), PatchGrid(grid.height, grid.width, turned)

    @property
    def token_width(self) -> int:
        """Channels E of the tokens."""
        return self.config.encoder_width + (0 if self.sight is None else self.config.decoder_width)

    def decode(
        self, references: Tensor, sources: Tensor | ViewStart, grid: PatchGrid, **options: Any
    ) -> DecoderStreams:
        """Decoder streams of (B, R, N, E) tokens, and (B, S, N, E) or what `start_sources` made of them; see
        `MultiviewDecoder` for the options."""
        known, seen = self._known_and_seen(references)
        if isinstance(sources, Tensor):
            sources, options["source_embedding"] = self._known_and_seen(sources)
        return self.decoder(known, sources, grid, reference_embedding=seen, **options)

    def start_sources(self, tokens: Tensor, grid: PatchGrid) -> ViewStart:
        """Compute what depends on each source alone, once for all its windows: (B, S, N, E) tokens."""
        known, seen = self._known_and_seen(tokens)
        return self.decoder.start(known, grid, "source", seen)

    def _known_and_seen(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """The encoder's channels, and the stem's if there is one."""
        width = self.config.encoder_width
        return tokens[..., :width], None if self.sight is None else tokens[..., width:]

    def _seen(self, images: Tensor, transposed: Tensor | None, chunk: int | None) -> Tensor:
        """Residuals of the stem, (B, N, C) for (B, 3, H, W)."""
        assert self.sight is not None
        step = chunk or len(images)
        parts = [
            self.sight(images[i : i + step], None if transposed is None else transposed[i : i + step]).float()
            for i in range(0, len(images), step)
        ]
        return torch.cat(parts)

    def forward(self, tokens: Tensor, grid: PatchGrid, reference: int, memory_chunk: int | None = None) -> Pointmaps:
        """Pointmaps of all views of a window.

        Args:
            tokens: (B, V, N, E) from `encode`.
            grid: their patch grid.
            reference: index of the reference view; all points are in its camera frame.
            memory_chunk: see `common.backbone.attention.MaxPooledCrossAttention`.

        Returns:
            (B, V, H, W, ..) pointmaps in the order of the views, up to scale.
        """
        pointmaps, _ = self.forward_with_correlation(tokens, grid, reference, memory_chunk)
        return pointmaps

    def forward_with_correlation(
        self, tokens: Tensor, grid: PatchGrid, reference: int, memory_chunk: int | None = None
    ) -> tuple[Pointmaps, Tensor]:
        """Run `forward`; also return the correlation logits (B, V - 1, N) of the sources, from the same pass."""
        sources = torch.cat([tokens[:, :reference], tokens[:, reference + 1 :]], dim=1)
        streams = self.decode(tokens[:, reference : reference + 1], sources, grid, memory_chunk=memory_chunk)
        raw_reference = self.reference_head(streams.references, grid)
        raw_sources = self.source_head(streams.sources, grid)
        raw = torch.cat([raw_sources[:, :reference], raw_reference, raw_sources[:, reference:]], dim=1)
        logits = self.correlation_head(streams.sources[CORRELATION_LAYERS])
        return activate(raw, self.config.point_activation, self.config.confidence_activation), logits

    def window_pointmaps(
        self, reference: Tensor, sources: Tensor | ViewStart, grid: PatchGrid, memory_chunk: int | None = None
    ) -> Pointmaps:
        """Pointmaps (B, 1 + S, H, W, ..) of windows, the reference first; arguments as for `reference_pointmap`."""
        streams = self.decode(reference[:, None], sources, grid, memory_chunk=memory_chunk)
        raw = [self.reference_head(streams.references, grid), self.source_head(streams.sources, grid)]
        return activate(torch.cat(raw, dim=1), self.config.point_activation, self.config.confidence_activation)

    def reference_pointmap(
        self, reference: Tensor, sources: Tensor | ViewStart, grid: PatchGrid, memory_chunk: int | None = None
    ) -> Pointmaps:
        """Pointmap of the reference alone; skips the sources' last layer and their heads.

        Args:
            reference: (B, N, E) tokens of the references.
            sources: (B, S, N, E) tokens of their windows, or what `start_sources` made of them.

        Returns:
            (B, H, W, ..) pointmaps in each reference's camera frame.
        """
        streams = self.decode(reference[:, None], sources, grid, want_sources=False, memory_chunk=memory_chunk)
        raw = self.reference_head(streams.references, grid)
        return activate(raw[:, 0], self.config.point_activation, self.config.confidence_activation)

    def correlation_scores(
        self, queries: Tensor, candidates: Tensor | ViewStart, grid: PatchGrid, memory_chunk: int | None = None
    ) -> Tensor:
        """Patch scores of every (query, candidate) pair, each above 1: the learned retrieval.

        Args:
            queries: (Q, N, E) tokens of the frames to be registered.
            candidates: (C, N, E) tokens of the buffering set, or `start_sources` of one item with them.

        Returns:
            (Q, C, N): 1 + exp of the correlation logits, with the query as reference and the candidates as sources.
        """
        return 1 + self.correlation_logits(queries, candidates, grid, memory_chunk).exp()

    def correlation_logits(
        self, queries: Tensor, candidates: Tensor | ViewStart, grid: PatchGrid, memory_chunk: int | None = None
    ) -> Tensor:
        """The logits (Q, C, N) of `correlation_scores`."""
        # The candidates form one item for all queries, so work that is independent of the query is done once.
        streams = self.decode(
            queries[:, None],
            candidates[None] if isinstance(candidates, Tensor) else candidates,
            grid,
            want_references=False,
            num_layers=CORRELATION_LAYERS,
            memory_chunk=memory_chunk,
        )
        return self.correlation_head(streams.sources[CORRELATION_LAYERS])
