"""Dense prediction transformer head (Ranftl et al. 2021), in the form of DUSt3R's point head.

Four levels of the decoder's list become feature maps at 4, 2, 1 and 1/2 times the patch grid, are fused from coarse
to fine, and end in a map of the image's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.backbone.patch_embed import PatchGrid
from common.heads.linear import stored_layout


def dpt_levels(depth: int) -> tuple[int, int, int, int]:
    """Which entries of the decoder's list (0 = encoder tokens, k = block k) feed the head.

    Raises:
        ValueError: for fewer than 10 blocks, where DUSt3R does not define the head.
    """
    if depth < 10:
        raise ValueError(f"the DPT head needs a decoder of at least 10 blocks, got {depth}")
    return 0, depth * 2 // 4, depth * 3 // 4, depth


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class FusionBlock(nn.Module):
    """Adds a finer level to the coarse path and doubles the resolution."""

    def __init__(self, width: int, has_skip: bool) -> None:
        super().__init__()
        self.skip_unit = ResidualUnit(width) if has_skip else None
        self.unit = ResidualUnit(width)
        self.projection = nn.Conv2d(width, width, 1)

    def forward(self, path: Tensor, skip: Tensor | None = None) -> Tensor:
        """(B, C, h, w), and the finer level of the same size unless this is the coarsest, to (B, C, 2h, 2w)."""
        if self.skip_unit is not None:
            assert skip is not None, "this fusion block expects a finer level"
            path = path + self.skip_unit(skip)
        path = self.unit(path)
        path = F.interpolate(path, scale_factor=2.0, mode="bilinear", align_corners=True)
        return self.projection(path)


class DPTBody(nn.Module):
    """Token levels to one feature map at eight times the patch grid."""

    def __init__(self, level_widths: Sequence[int], channels: Sequence[int], width: int) -> None:
        """
        Args:
            level_widths: token channels of the four levels, fine to coarse.
            channels: feature channels of the four levels before they are brought to ``width``.
            width: channels of the fusion path.
        """
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in zip(level_widths, channels, strict=True))
        self.resizes = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, stride=4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, stride=2, padding=1),
            ]
        )
        self.to_width = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1, bias=False) for c in channels)
        self.fusions = nn.ModuleList(FusionBlock(width, has_skip=level < 3) for level in range(4))

    def forward(self, levels: Sequence[Tensor], rows: int, columns: int) -> Tensor:
        """Four levels (B, N, C_level) on a grid of (rows, columns) to (B, width, 8 rows, 8 columns)."""
        maps = []
        for tokens, project, resize, widen in zip(levels, self.projections, self.resizes, self.to_width, strict=True):
            image = tokens.transpose(1, 2).unflatten(2, (rows, columns))
            maps.append(widen(resize(project(image))))
        path = self.fusions[3](maps[3])
        # An odd grid: the coarsest level, rounded up, is one row or column too large after doubling.
        path = path[..., : maps[2].shape[-2], : maps[2].shape[-1]]
        for level in (2, 1, 0):
            path = self.fusions[level](path, maps[level])
        return path


class DPTHead(nn.Module):
    """(.., N, C) token levels to (.., H, W, channels) raw values, in float32."""

    def __init__(
        self,
        encoder_width: int,
        decoder_width: int,
        decoder_depth: int,
        patch_size: int = 16,
        channels: int = 4,
        level_channels: Sequence[int] = (96, 192, 384, 768),
        width: int = 256,
        last_width: int = 128,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.levels = dpt_levels(decoder_depth)
        self.body = DPTBody((encoder_width, *[decoder_width] * 3), level_channels, width)
        self.output = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(width // 2, last_width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last_width, channels, 1),
        )

    def forward(self, streams: list[Tensor], grid: PatchGrid) -> Tensor:
        """
        Args:
            streams: the decoder's list, each (B, V, N, C_level).
            grid: patch grid of the N tokens.

        Returns:
            Raw (B, V, H, W, channels) in the stored layout.
        """
        upright = self._run(streams, grid.height, grid.width)
        if grid.transposed is None:
            return upright
        return stored_layout(upright, self._run(streams, grid.width, grid.height), grid.transposed)

    def _run(self, streams: list[Tensor], rows: int, columns: int) -> Tensor:
        lead = streams[-1].shape[:2]
        levels = [streams[level].float().flatten(0, 1) for level in self.levels]
        with torch.autocast(levels[0].device.type, enabled=False):
            raw = self.output(self.body(levels, rows, columns))
        return raw.permute(0, 2, 3, 1).unflatten(0, lead)
