"""Heads of Uni3R: raw Gaussian attributes per pixel, and pairs of heads for decoders with two kinds of views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.backbone.patch_embed import PatchGrid
from common.heads.dpt_head import DPTFeatures
from uni3r.models.attributes import AttributeSettings


class AttributeHead(nn.Module):
    """Token levels and image to the raw channels of `uni3r.models.attributes`, in float32."""

    def __init__(
        self,
        level_widths: Sequence[int],
        settings: AttributeSettings,
        level_channels: Sequence[int] = (256, 512, 1024, 1024),
        width: int = 256,
        patch_size: int = 16,
        views_per_pass: int | None = 8,
        **body: Any,
    ) -> None:
        """
        Args:
            level_widths: token channels of the levels, fine to coarse.
            settings: determines the channels of the result.
            level_channels, width: see `common.heads.dpt.DPTBody`.
            patch_size: pixels per token and side.
            views_per_pass: images processed at once, to bound the memory; None for all.
            **body: options of `DPTBody`.
        """
        super().__init__()
        self.views_per_pass = views_per_pass
        self.features = DPTFeatures(level_widths, level_channels, width, width, patch_size, image_branch=True, **body)
        self.project = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, settings.channels, 1)
        )
        self.settings = settings
        self.reset_projection()

    def reset_projection(self) -> None:
        """Initialize to nearly isotropic, half opaque Gaussians: attributes near zero, rotations near the identity."""
        last = self.project[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[self.settings.sizes[0]] = 1  # the scalar part of the quaternion

    def forward(self, levels: Sequence[Tensor], grid: PatchGrid, images: Tensor) -> Tensor:
        """
        Args:
            levels: (B, V, N, C_level) each, fine to coarse.
            grid: patch grid of the N tokens.
            images: (B, V, 3, H, W) in [-1, 1].

        Returns:
            Raw (B, V, H, W, A).
        """
        flat = [*(tokens.flatten(0, 1) for tokens in levels), images.flatten(0, 1)]
        chunk = self.views_per_pass or len(flat[-1])
        with torch.autocast(images.device.type, enabled=False):
            parts = []
            for *part, image in zip(*(tensor.split(chunk) for tensor in flat), strict=True):
                features = self.features([tokens.float() for tokens in part], grid.height, grid.width, image.float())
                parts.append(self.project(features))
        raw = torch.cat(parts) if len(parts) > 1 else parts[0]
        return raw.permute(0, 2, 3, 1).unflatten(0, images.shape[:2])


class RoleHeads(nn.Module):
    """One head for the reference (view 0) and one for all others, for decoders with two streams."""

    def __init__(self, reference: nn.Module, source: nn.Module) -> None:
        super().__init__()
        self.reference = reference
        self.source = source

    def forward(self, levels: Sequence[Tensor], grid: PatchGrid, *maps: Tensor) -> Tensor:
        """Apply the heads, whose signature this has: ``levels``, ``maps`` and the result are (B, V, ..)."""
        first = self.reference([tokens[:, :1] for tokens in levels], grid, *(image[:, :1] for image in maps))
        if levels[-1].shape[1] == 1:
            return first
        others = self.source([tokens[:, 1:] for tokens in levels], grid, *(image[:, 1:] for image in maps))
        return torch.cat([first, others], dim=1)
