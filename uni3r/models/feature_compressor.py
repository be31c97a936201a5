"""Learned maps between a teacher's feature space (512 channels for CLIP) and the channels of Gaussians (64)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 2
"""Image size over the size of the teacher's maps (LSeg)."""


class FeatureCompressor(nn.Module):
    """Two learned 1x1 convolutions: teacher features to a residual for the Gaussians, and rendered features back."""

    def __init__(self, channels: int = 64, teacher_channels: int = 512) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(teacher_channels, channels, 1)
        self.expansion = nn.Conv2d(channels, teacher_channels, 1)

    def reduce(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, V, T, h, w) teacher features to (B, V, C, H, W) of the image's ``size``."""
        return resize_features(self.reduction(features.flatten(0, 1)).unflatten(0, features.shape[:2]), size)

    def expand(self, features: Tensor) -> Tensor:
        """(B, V, C, H, W) rendered features to the teacher's space at half the size, (B, V, T, H / 2, W / 2)."""
        # Bilinear halving without aligned corners is the mean of 2 x 2.
        half = F.avg_pool2d(features.flatten(0, 1), STRIDE)
        return self.expansion(half).unflatten(0, features.shape[:2])

    def expand_vectors(self, features: Tensor) -> Tensor:
        """(N, C) features to the teacher's space, (N, T)."""
        return self.expansion(features[:, :, None, None])[:, :, 0, 0]


def resize_features(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B, V, C, h, w) maps to ``size`` (height, width)."""
    if features.shape[-2:] == size:
        return features
    flat = F.interpolate(features.flatten(0, 1), size, mode="bilinear", align_corners=False)
    return flat.unflatten(0, features.shape[:2])
