"""VGGT as a teacher of geometry, as published."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from common.views import Pointmaps
from uni3r.models.vggt import VGGT


class VGGTTeacher(nn.Module):
    """Points and confidences of VGGT's point head, in the frame of view 0; without gradient."""

    def __init__(self, network: VGGT, size: tuple[int, int] | None = (518, 518)) -> None:
        """
        Args:
            network: pretrained network.
            size: (height, width) that images are enlarged to; None keeps their size. Published: 518 x 518.
        """
        super().__init__()
        self.network, self.size = network, None if size is None else (size[0], size[1])

    @classmethod
    def from_pretrained(cls, source: str | Path, size: tuple[int, int] | None = (518, 518)) -> VGGTTeacher:
        """Load a hub id, a folder or a file of VGGT-1B.

        Raises:
            CheckpointError: tensors do not fit; the message names them.
        """
        return cls(VGGT.from_pretrained(source), size)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Pointmaps:
        """(B, V, 3, H, W) in [-1, 1] to (B, V, h, w, ..) at the enlarged size."""
        return self.network(images, self.size).pointmaps
