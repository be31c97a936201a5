"""Local-to-World (L2W): registers camera pointmaps of new frames into the world of frames registered before.

SLAM3R, Liu, Dong et al., CVPR 2025, section 3.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common.backbone import PatchEmbed, PatchGrid, ViewStart
from common.checkpoints.hub import PretrainedModel
from common.heads import DPTHead, LinearHead
from common.heads.activations import activate
from common.views import Pointmaps
from slam3r.models.config import BackboneConfig, initialize_weights


class PointmapEmbedding(nn.Module):
    """Patch embedding of pointmaps; a learned void token can replace patches without points."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.patches = PatchEmbed(width, patch_size)
        self.void_token = nn.Parameter(0.02 * torch.randn(1, 1, width))

    def forward(self, points: Tensor, void: Tensor | None = None) -> Tensor:
        """
        Args:
            points: (B, V, H, W, 3).
            void: (B, V, h, w) bool over the patch grid, True where the patch has no points; None masks nothing
                (the published pipeline sets invalid points to zero instead).

        Returns:
            (B, V, N, C).
        """
        images = points.flatten(0, 1).movedim(-1, 1)
        embedding = self.patches(images)[0].unflatten(0, points.shape[:2])
        if void is None:
            return embedding
        return torch.where(void.flatten(2)[..., None], self.void_token, embedding)


class LocalToWorld(PretrainedModel):
    """Multi-view decoder over image tokens plus pointmaps. It reads I2P's tokens and has no encoder of its own."""

    ignored_prefixes = ("encoder.",)

    def __init__(self, **sizes: Any) -> None:
        """
        Args:
            **sizes: fields of `BackboneConfig`; what is not given has the published value. ``encoder_width`` is the
                width of the tokens it reads.
        """
        super().__init__()
        self.config = BackboneConfig(**sizes)
        self.decoder = self.config.build_decoder()
        self.pointmap_embedding = PointmapEmbedding(self.config.decoder_width, self.config.patch_size)
        self.reference_head = self.config.build_head()
        self.source_head = self.config.build_head()
        initialize_weights(self)

    def forward(
        self,
        reference_tokens: Tensor,
        reference_points: Tensor,
        source_tokens: Tensor,
        source_points: Tensor,
        grid: PatchGrid,
        want_references: bool = True,
        memory_chunk: int | None = None,
    ) -> tuple[Pointmaps | None, Pointmaps]:
        """Register sources and refine the references; `register` does the first alone.

        Args:
            reference_tokens: (B, R, N, E) I2P encoder tokens of the scene frames, not normalized.
            reference_points: (B, R, H, W, 3) their pointmaps in the world.
            source_tokens: (B, S, N, E) of the frames to register.
            source_points: (B, S, H, W, 3) their pointmaps, each in its own camera frame and scale.
            grid: patch grid of the tokens.
            want_references: also refine the references.
            memory_chunk: see `common.backbone.attention.MaxPooledCrossAttention`.

        Returns:
            World pointmaps of the references (None unless wanted) and of the sources.
        """
        streams = self.decoder(
            self._known(reference_tokens),
            self._known(source_tokens),
            grid,
            self.pointmap_embedding(reference_points),
            self.pointmap_embedding(source_points),
            want_references=want_references,
            memory_chunk=memory_chunk,
        )
        references = self._pointmaps(self.reference_head, streams.references, grid) if want_references else None
        return references, self._pointmaps(self.source_head, streams.sources, grid)

    def start_references(self, tokens: Tensor, points: Tensor, grid: PatchGrid) -> ViewStart:
        """Compute what depends on each reference alone, once for all registrations; arguments as for `forward`."""
        return self.decoder.start(self._known(tokens), grid, "reference", self.pointmap_embedding(points))

    def register(
        self,
        references: ViewStart,
        source_tokens: Tensor,
        source_points: Tensor,
        grid: PatchGrid,
        memory_chunk: int | None = None,
    ) -> Pointmaps:
        """World pointmaps of sources alone.

        Args:
            references: `start_references` of as many items as the sources have, or of one for all.
            source_tokens, source_points, grid, memory_chunk: see `forward`.
        """
        streams = self.decoder(
            references,
            self._known(source_tokens),
            grid,
            source_embedding=self.pointmap_embedding(source_points),
            want_references=False,
            memory_chunk=memory_chunk,
        )
        return self._pointmaps(self.source_head, streams.sources, grid)

    def _known(self, tokens: Tensor) -> Tensor:
        return tokens[..., : self.config.encoder_width]  # what may follow is for I2P alone

    def _pointmaps(self, head: LinearHead | DPTHead, streams: list[Tensor], grid: PatchGrid) -> Pointmaps:
        return activate(head(streams, grid), self.config.point_activation, self.config.confidence_activation)
