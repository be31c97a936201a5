"""SLAM3R's image-to-points network as a teacher of geometry for other models: images in, pointmaps out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from common.views import Pointmaps
from slam3r.models import ImageToPoints


class ImageToPointsTeacher(nn.Module):
    """Pointmaps and confidences of all views in the camera frame of view 0, up to scale; without gradient."""

    def __init__(self, network: ImageToPoints) -> None:
        super().__init__()
        self.network = network

    @classmethod
    def from_pretrained(cls, source: str | Path) -> ImageToPointsTeacher:
        """Load a hub id, a folder or a file; for two views, a DUSt3R file works as well.

        Raises:
            CheckpointError: tensors do not fit; the message names them.
        """
        return cls(ImageToPoints.from_pretrained(source, allow_fresh=True))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Pointmaps:
        """(B, V, 3, H, W) in [-1, 1], V >= 2, sides multiples of 16, to (B, V, H, W, ..)."""
        tokens, grid = self.network.encode(images)
        return self.network(tokens, grid, reference=0)
