"""Auxiliary task for the encoder of small networks trained from scratch.

Without pre-training, a transformer first learns the best constant pointmap and stays there for thousands of steps,
since little gradient reaches the encoder through the decoder. Predicting semantic class, surface normal and relative
depth from every token by one linear layer supervises the encoder directly. The layer is not part of the model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.rooms import LABEL_NAMES
from common.views import Views
from slam3r.training.losses import camera_points

SAMPLES = 4
"""Supervised pixels per side of a patch."""
IGNORED = 255


class AuxiliaryHead(nn.Module):
    """Normalized tokens to class logits, normal and logarithm of relative depth at a few pixels of every patch."""

    def __init__(self, width: int, patch_size: int = 16, classes: int = len(LABEL_NAMES)) -> None:
        """
        Args:
            width: channels of the encoder's tokens.
            patch_size: side of a patch in pixels, a multiple of 4.
            classes: semantic classes.
        """
        super().__init__()
        self.classes = classes
        self.step = patch_size // SAMPLES
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, SAMPLES**2 * (classes + 4))

    def forward(self, tokens: Tensor, views: Views) -> dict[str, Tensor]:
        """Loss terms for the tokens (B, V, N, E) of views with depth, intrinsics and labels; ``loss`` is their sum."""
        assert views.depth is not None and views.labels is not None
        height, width = views.depth.shape[-2] // self.step, views.depth.shape[-1] // self.step
        raw = self.projection(self.norm(tokens.float())).float()
        rows = height // SAMPLES
        raw = raw.view(-1, rows, width // SAMPLES, SAMPLES, SAMPLES, self.classes + 4)
        raw = raw.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, self.classes + 4)
        logits, normal, depth = raw.split([self.classes, 3, 1], dim=-1)

        targets = camera_points(views)
        points, valid = targets.points.flatten(0, 1), targets.valid.flatten(0, 1)
        true_normal = surface_normals(points)[:, :: self.step, :: self.step]
        valid = valid[:, :: self.step, :: self.step]
        log_depth = points[:, :: self.step, :: self.step, 2].clamp(min=1e-3).log()
        mean = (log_depth * valid).sum(dim=(1, 2), keepdim=True) / valid.sum(dim=(1, 2), keepdim=True).clamp(min=1)
        labels = views.labels.flatten(0, 1)[:, :: self.step, :: self.step]
        terms = {
            "semantic": F.cross_entropy(logits.movedim(-1, 1), labels, ignore_index=IGNORED),
            "normal": (normal - true_normal).abs().sum(dim=-1)[valid].mean(),
            "depth": (depth[..., 0] - (log_depth - mean))[valid].abs().mean(),
        }
        return {**terms, "loss": terms["semantic"] + terms["normal"] + 2 * terms["depth"]}


def surface_normals(points: Tensor) -> Tensor:
    """(B, H, W, 3) unit normals of pointmaps by finite differences; the last row and column repeat their neighbour."""
    right = points[:, :-1, 1:] - points[:, :-1, :-1]
    down = points[:, 1:, :-1] - points[:, :-1, :-1]
    normals = F.normalize(torch.linalg.cross(down, right), dim=-1)
    return F.pad(normals.movedim(-1, 1), (0, 1, 0, 1), mode="replicate").movedim(1, -1)
