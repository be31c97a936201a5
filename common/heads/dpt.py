"""Body of the dense prediction transformer (Ranftl et al. 2021): four levels of tokens to one feature map.

The levels become feature maps at 4, 2, 1 and 1/2 times the patch grid and are fused from coarse to fine. DUSt3R, VGGT
(and with it Uni3R) and LSeg share this design with small differences, all of them options here:

=========================  ==============  ==============  ==========
option                     DUSt3R          VGGT, Uni3R     LSeg
=========================  ==============  ==============  ==========
``token_norm``             no              yes             no
``position_map``           no              yes             no
``skip_after_activation``  no              yes             no
``batch_norm``             no              no              yes
``match_next_level``       no (doubles)    yes             no (doubles)
=========================  ==============  ==============  ==========
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from common.heads.position_map import POSITION_MAP_SCALE, position_map


def resize_map(image: Tensor, size: tuple[int, int], align_corners: bool = True) -> Tensor:
    """Bilinear resize of (B, C, h, w) to ``size``; corners aligned by default, as in all heads of this family."""
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size, mode="bilinear", align_corners=align_corners)


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu x))), with optional batch norms after the convolutions."""

    def __init__(self, width: int, batch_norm: bool = False, skip_after_activation: bool = False) -> None:
        """
        Args:
            width: channels.
            batch_norm: norms after both convolutions, which then have no bias.
            skip_after_activation: add to relu(x) in place of x. VGGT's first activation works in place, so its
                weights were trained with this sum.
        """
        super().__init__()
        self.skip_after_activation = skip_after_activation
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm)
        self.norm1 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(width) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        active = F.relu(x)
        branch = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(active)))))
        return branch + (active if self.skip_after_activation else x)


class FusionBlock(nn.Module):
    """Adds a finer level to the coarse path and brings it to the next size."""

    def __init__(
        self,
        width: int,
        has_skip: bool,
        batch_norm: bool = False,
        skip_after_activation: bool = False,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.skip_unit = ResidualUnit(width, batch_norm, skip_after_activation) if has_skip else None
        self.unit = ResidualUnit(width, batch_norm, skip_after_activation)
        self.projection = nn.Conv2d(width, width, 1)

    def forward(self, path: Tensor, skip: Tensor | None = None, size: tuple[int, int] | None = None) -> Tensor:
        """
        Args:
            path: (B, C, h, w) from the coarser levels.
            skip: the finer level, of the same size, unless this is the coarsest.
            size: (height, width) of the result; None doubles it.

        Returns:
            (B, C, *size).
        """
        if self.skip_unit is not None:
            assert skip is not None, "this fusion block expects a finer level"
            path = path + self.skip_unit(skip)
        # A 1x1 convolution and a resize commute (resize weights sum to 1): convolve while the map is small.
        path = self.projection(self.unit(path))
        return resize_map(path, size or (2 * path.shape[-2], 2 * path.shape[-1]), self.align_corners)


class DPTBody(nn.Module):
    """Token levels to one feature map at twice the size of the finest level."""

    def __init__(
        self,
        level_widths: Sequence[int],
        channels: Sequence[int],
        width: int,
        *,
        resize_factors: Sequence[float] = (4, 2, 1, 0.5),
        token_norm: bool = False,
        position_map: bool = False,
        skip_after_activation: bool = False,
        batch_norm: bool = False,
        match_next_level: bool = False,
        align_corners: bool = True,
    ) -> None:
        """
        Args:
            level_widths: token channels of the levels, fine to coarse.
            channels: feature channels of the levels before they are brought to ``width``.
            width: channels of the fusion path.
            resize_factors: size of each level's map over the patch grid: an integer or 0.5.
            token_norm: one layer norm (eps 1e-5) shared by all levels, which must then have the same width.
            position_map: add `common.heads.position_map` to every projected level.
            skip_after_activation: see `ResidualUnit`.
            batch_norm: see `ResidualUnit`.
            match_next_level: resize the path to the next level's size instead of doubling it; differs on odd grids.
            align_corners: option of every bilinear resize.
        """
        super().__init__()
        self.position_map = position_map
        self.match_next_level = match_next_level
        self.token_norm = nn.LayerNorm(level_widths[0], eps=1e-5) if token_norm else nn.Identity()
        self.projections = nn.ModuleList(nn.Conv2d(i, o, 1) for i, o in zip(level_widths, channels, strict=True))
        self.resizes = nn.ModuleList(_resize(c, factor) for c, factor in zip(channels, resize_factors, strict=True))
        self.to_width = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1, bias=False) for c in channels)
        last = len(channels) - 1
        self.fusions = nn.ModuleList(
            FusionBlock(width, level < last, batch_norm, skip_after_activation, align_corners)
            for level in range(len(channels))
        )

    def forward(self, levels: Sequence[Tensor], rows: int, columns: int, aspect: float | None = None) -> Tensor:
        """
        Args:
            levels: (B, N, C_level) patch tokens of each level, fine to coarse, row-major on a grid of (rows, columns).
            rows, columns: the patch grid.
            aspect: width of the image over its height, for the position map; None takes that of the grid.

        Returns:
            (B, width, 2 h, 2 w) where the finest level's map is (h, w): 8 times the patch grid by default.
        """
        aspect = columns / rows if aspect is None else aspect
        maps = []
        for tokens, project, resize, widen in zip(levels, self.projections, self.resizes, self.to_width, strict=True):
            image = self.token_norm(tokens).transpose(1, 2).unflatten(2, (rows, columns))
            image = project(image)
            if self.position_map:
                image = image + POSITION_MAP_SCALE * position_map((rows, columns), aspect, image.shape[1], image.device)
            maps.append(widen(resize(image)))
        path = maps[-1]
        for level in reversed(range(len(maps))):
            path = self._fuse(level, path, maps)
        return path

    def _fuse(self, level: int, path: Tensor, maps: list[Tensor]) -> Tensor:
        skip = None if level == len(maps) - 1 else maps[level]
        if level == 0:
            return self.fusions[0](path, skip)
        height, width = maps[level - 1].shape[-2:]
        if self.match_next_level:
            return self.fusions[level](path, skip, (height, width))
        # An odd grid: the coarsest level, rounded up, is one row or column too large after doubling.
        return self.fusions[level](path, skip)[..., :height, :width]


def _resize(channels: int, factor: float) -> nn.Module:
    """Learned resize by an integer factor or by one half.

    Raises:
        ValueError: for another factor.
    """
    if factor == 1:
        return nn.Identity()
    if factor == 0.5:
        return nn.Conv2d(channels, channels, 3, stride=2, padding=1)
    if factor != int(factor) or factor < 1:
        raise ValueError(f"a level is resized by an integer or by 0.5, not by {factor}")
    return nn.ConvTranspose2d(channels, channels, int(factor), stride=int(factor))
