"""Dense heads on the DPT body: from token levels to a feature map, or to raw values, at the size of the image.

DUSt3R's point head (Wang et al. 2024) and VGGT's (Wang et al. 2025) are one class with the options of
`common.heads.dpt`; Uni3R's feature head is `DPTFeatures` with an image branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.patch_embed import PatchGrid
from common.heads.dpt import DPTBody, resize_map
from common.heads.linear import stored_layout
from common.heads.position_map import POSITION_MAP_SCALE, position_map


def dpt_levels(depth: int) -> tuple[int, int, int, int]:
    """Entries of the multi-view decoder's list (0 = encoder tokens, k = block k) that feed the head.

    DUSt3R's rule (0, 6, 9, 12 of 12 blocks), defined there for 10 blocks and more; small models use it from 3 blocks
    on, where the entries are still distinct.

    Raises:
        ValueError: for fewer than 3 blocks.
    """
    if depth < 3:
        raise ValueError(f"the DPT head needs a decoder of at least 3 blocks, got {depth}")
    return 0, depth * 2 // 4, depth * 3 // 4, depth


class DPTFeatures(nn.Module):
    """Token levels to a feature map of the image's size."""

    def __init__(
        self,
        level_widths: Sequence[int],
        level_channels: Sequence[int],
        width: int,
        out_channels: int,
        patch_size: int = 16,
        image_branch: bool = False,
        **body: Any,
    ) -> None:
        """
        Args:
            level_widths: token channels of the levels, fine to coarse.
            level_channels: see `DPTBody`.
            width: channels of the fusion path.
            out_channels: channels of the result.
            patch_size: pixels per token and side; fixes the size of the result.
            image_branch: add relu of a 7x7 convolution of the image, for detail that the tokens lack (Uni3R).
            **body: options of `DPTBody`. With ``position_map``, the result gets one as well.
        """
        super().__init__()
        self.patch_size = patch_size
        self.body = DPTBody(level_widths, level_channels, width, **body)
        self.smooth = nn.Conv2d(width, out_channels, 3, padding=1)
        self.image_branch = nn.Conv2d(3, out_channels, 7, padding=3) if image_branch else None

    def forward(self, levels: Sequence[Tensor], rows: int, columns: int, images: Tensor | None = None) -> Tensor:
        """
        Args:
            levels: (B, N, C_level) tokens on a grid of (rows, columns).
            images: (B, 3, H, W) in [-1, 1]; required exactly with an image branch.

        Returns:
            (B, out_channels, H, W).
        """
        size = rows * self.patch_size, columns * self.patch_size
        features = resize_map(self.smooth(self.body(levels, rows, columns)), size)
        if self.image_branch is not None:
            assert images is not None, "this head has an image branch and needs the images"
            features = features + F.relu(self.image_branch(images))
        if self.body.position_map:
            place = position_map(size, columns / rows, features.shape[1], features.device)
            features = features + POSITION_MAP_SCALE * place
        return features


class DPTHead(nn.Module):
    """(.., N, C) token levels to (.., H, W, channels) raw values, in float32."""

    def __init__(
        self,
        level_widths: Sequence[int],
        level_channels: Sequence[int] = (96, 192, 384, 768),
        width: int = 256,
        last_width: int = 128,
        channels: int = 4,
        patch_size: int = 16,
        levels: Sequence[int] | None = None,
        views_per_pass: int | None = None,
        **body: Any,
    ) -> None:
        """
        Args:
            level_widths: token channels of the levels, fine to coarse.
            level_channels: see `DPTBody`.
            width: channels of the fusion path.
            last_width: channels before the last layer: 128 in DUSt3R, 32 in VGGT.
            channels: values per pixel.
            patch_size: pixels per token and side.
            levels: indices of the levels in the list of streams; None if the list holds only the levels.
            views_per_pass: images processed at once, to bound the memory; None for all.
            **body: options of `DPTBody`.
        """
        super().__init__()
        self.levels = levels
        self.views_per_pass = views_per_pass
        self.features = DPTFeatures(level_widths, level_channels, width, width // 2, patch_size, **body)
        self.predict = nn.Sequential(
            nn.Conv2d(width // 2, last_width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last_width, channels, 1),
        )

    def forward(self, streams: Sequence[Tensor], grid: PatchGrid) -> Tensor:
        """
        Args:
            streams: (B, V, N, C_level) each; the levels, or a list that holds them (see ``levels``).
            grid: patch grid of the N tokens.

        Returns:
            Raw (B, V, H, W, channels) in the stored layout.
        """
        levels = streams if self.levels is None else [streams[level] for level in self.levels]
        upright = self._run(levels, grid.height, grid.width)
        if grid.transposed is None:
            return upright
        return stored_layout(upright, self._run(levels, grid.width, grid.height), grid.transposed)

    def _run(self, levels: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        lead = levels[-1].shape[:2]
        flat = [tokens.flatten(0, 1) for tokens in levels]
        chunk = self.views_per_pass or len(flat[-1])
        with torch.autocast(flat[-1].device.type, enabled=False):
            parts = [
                self.predict(self.features([tokens.float() for tokens in part], rows, columns))
                for part in zip(*(tokens.split(chunk) for tokens in flat), strict=True)
            ]
        raw = torch.cat(parts) if len(parts) > 1 else parts[0]
        return raw.permute(0, 2, 3, 1).unflatten(0, lead)
