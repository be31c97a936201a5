"""Local-to-World (L2W): registers camera pointmaps of new frames into the world of frames registered before.

SLAM3R, Liu, Dong et al., CVPR 2025, section 3.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common.backbone import PatchEmbed, PatchGrid
from common.checkpoints.hub import PretrainedModel
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
        """
        Args:
            reference_tokens: (B, R, N, E) I2P encoder tokens of the scene frames, not normalized.
            reference_points: (B, R, H, W, 3) their pointmaps in the world.
            source_tokens: (B, S, N, E) of the frames to register.
            source_points: (B, S, H, W, 3) their pointmaps, each in its own camera frame and scale.
            grid: patch grid of the tokens.
            want_references: also refine the references; the reconstruction does not need that and skips the cost.
            memory_chunk: see `common.backbone.attention.MaxPooledCrossAttention`.

        Returns:
            World pointmaps of the references (None unless wanted) and of the sources.
        """
        width = self.config.encoder_width  # what may follow is for I2P alone
        streams = self.decoder(
            reference_tokens[..., :width],
            source_tokens[..., :width],
            grid,
            self.pointmap_embedding(reference_points),
            self.pointmap_embedding(source_points),
            want_references=want_references,
            memory_chunk=memory_chunk,
        )
        modes = self.config.point_activation, self.config.confidence_activation
        references = activate(self.reference_head(streams.references, grid), *modes) if want_references else None
        return references, activate(self.source_head(streams.sources, grid), *modes)
