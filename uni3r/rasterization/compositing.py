"""Front-to-back alpha compositing in tiles, with an explicit backward pass.

The splats of a pixel, in order of depth, have alpha_k = min(max_alpha, opacity_k exp(-sigma_k)); the pixel is
sum_k alpha_k T_k value_k with T_k = prod_{j<k} (1 - alpha_j) (Kerbl et al. 2023, equation 3). Alphas below `min_alpha`
are zero, and a pixel stops before the splat that would bring T to `min_transmittance` or less.

To be fast without a compiler, many tiles advance together through their lists, `SLAB` splats at a time, and are
dropped as soon as all their pixels have stopped. Exponents are second-order polynomials of the pixel position, so those
of a slab are one product of a (splats x 6) and a (6 x pixels) matrix, and its contribution to the image is one product
of (pixels x splats) and (splats x channels) per tile. The backward pass recomputes the alphas from T in front of every
slab, with sums of the same form; gradients of centre and shape follow from moments of the gradient over pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from uni3r.rasterization.rendering import RasterizationSettings
from uni3r.rasterization.tiles import TileLists

SLAB = 16
"""Number of splats by which a tile advances at a time."""
CHUNK_PIXELS = 16384
"""Pixels of the tiles that advance together; a slab of them fits in the CPU's cache."""
_NOTHING = -1e4
"""Exponent of a padding splat, whose alpha is zero."""


def composite(
    centres: Tensor,
    factors: Tensor,
    opacities: Tensor,
    values: Tensor,
    tiles: TileLists,
    size: tuple[int, int],
    settings: RasterizationSettings,
) -> Tensor:
    """Blend splats into an image.

    Args:
        centres: (N, 2) of `Splats`.
        factors: (N, 3) of `Splats`.
        opacities: (N,).
        values: (N, C) values to blend.
        tiles: the splats of every tile.
        size: (height, width).
        settings: the thresholds.

    Returns:
        (C, H, W), differentiable in the first four.
    """
    return _Composite.apply(centres, factors, opacities, values, tiles, size, settings)


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, centres, factors, opacities, values, tiles, size, settings):
        scene = _Scene(centres, factors, opacities, values, tiles, settings)
        out = values.new_zeros(len(tiles.starts) - 1, tiles.tile_size**2, values.shape[1])
        ctx.chunks = [_blend(scene, chunk, out) for chunk in _chunks(tiles)]
        ctx.save_for_backward(centres, factors, opacities, values)
        ctx.arguments = tiles, settings
        return _image_of_tiles(out, tiles, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image):
        tiles, settings = ctx.arguments
        centres, factors, opacities, values = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            scene = _Scene(centres, factors, opacities, values, tiles, settings)
            grad_out = _tiles_of_image(grad_image, tiles)
            sums = _Sums(values.new_zeros(len(values), 6), torch.zeros_like(values))
            for chunk, slabs in ctx.chunks:
                _blend_backward(scene, chunk, slabs, grad_out, sums)
            xx, xy, yy, x, y, one = sums.moments.unbind(1)
            first, mixed, second = factors.unbind(1)
            along = first * x + mixed * y  # sum of u times the gradient of the exponent
            grad_centres = torch.stack([first * along, mixed * along + second.square() * y], dim=1)
            grad_factors = -torch.stack([first * xx + mixed * xy, first * xy + mixed * yy, second * yy], dim=1)
            grad_opacities = torch.where(one == 0, 0, one / opacities)
        return grad_centres, grad_factors, grad_opacities, sums.values, None, None, None


@dataclass
class _Slab:
    """`SLAB` splats of tiles that advance together."""

    rows: Tensor | slice
    """(T,) indices of tiles in the chunk."""
    splats: Tensor
    """(SLAB, T) int64."""
    empty: Tensor
    """(SLAB, T) bool, true beyond the end of the tile's list."""
    transmittance: Tensor
    """(T, pixels) in front of the slab."""


@dataclass
class _Sums:
    """Gradients accumulated over tiles."""

    moments: Tensor
    """(N, 6) sums over pixels of the gradient of the exponent, times dx^2, dx dy, dy^2, dx, dy, 1."""
    values: Tensor
    """(N, C)."""


class _Scene:
    """The splats, ready to be evaluated in tiles."""

    def __init__(self, centres, factors, opacities, values, tiles: TileLists, settings: RasterizationSettings):
        self.values, self.tiles, self.settings = values, tiles, settings
        first, mixed, second = factors.unbind(1)
        quadratic = (-0.5 * first.square(), -first * mixed, -0.5 * (mixed.square() + second.square()))
        log_opacities = opacities.clamp(min=torch.finfo(opacities.dtype).tiny).log()
        self._table = torch.stack([*centres.unbind(1), *factors.unbind(1), *quadratic, log_opacities], dim=1)
        self.clamps = bool((opacities > settings.max_alpha).any())
        offset = torch.arange(tiles.tile_size, dtype=values.dtype) - (tiles.tile_size - 1) / 2
        y, x = (axis.flatten() for axis in torch.meshgrid(offset, offset, indexing="ij"))
        self.basis = torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)])
        """(6, pixels) monomials of the pixel offsets from the middle of a tile."""

    def tile_centres(self, tile: Tensor) -> Tensor:
        """(T, 2) middles of tiles as (x, y), pixels."""
        side, columns = self.tiles.tile_size, self.tiles.grid[1]
        return (torch.stack([tile % columns, tile // columns], dim=1).to(self.values.dtype) + 0.5) * side

    def slab_values(self, slab: _Slab) -> Tensor:
        """(T, SLAB, C) values to blend."""
        return self.values.index_select(0, slab.splats.flatten()).view(*slab.splats.shape, -1).transpose(0, 1)

    def alphas(self, slab: _Slab, middles: Tensor) -> tuple[Tensor, Tensor]:
        """(SLAB, T, pixels) alphas, zero below the threshold, and (2, SLAB, T) offsets centre to middle."""
        table = self._table.index_select(0, slab.splats.flatten()).view(*slab.splats.shape, -1)
        x, y, first, mixed, second, xx, xy, yy, log_opacity = table.unbind(-1)
        dx, dy = middles[:, 0] - x, middles[:, 1] - y
        u, v = first * dx + mixed * dy, second * dy
        constant = (log_opacity - 0.5 * (u * u + v * v)).masked_fill_(slab.empty, _NOTHING)
        coefficients = torch.stack([xx, xy, yy, -first * u, -(mixed * u + second * v), constant], dim=-1)
        alpha = (coefficients.view(-1, 6) @ self.basis).exp_().clamp_(max=self.settings.max_alpha)
        F.threshold(alpha, self.settings.min_alpha, 0.0, inplace=True)
        return alpha.view(*slab.splats.shape, -1), torch.stack([dx, dy])


@dataclass
class _Chunk:
    """Tiles that advance together, the longest list first."""

    tile: Tensor
    """(T,)"""
    starts: Tensor
    """(T,) start of each tile's list."""
    counts: Tensor
    """(T,)"""


def _chunks(tiles: TileLists) -> list[_Chunk]:
    counts, order = tiles.starts.diff().sort(descending=True, stable=True)
    number = int((counts > 0).sum())
    step = max(1, CHUNK_PIXELS // tiles.tile_size**2)
    parts = (slice(first, min(first + step, number)) for first in range(0, number, step))
    return [_Chunk(order[part], tiles.starts[order[part]], counts[part]) for part in parts]


def _blend(scene: _Scene, chunk: _Chunk, out: Tensor) -> tuple[_Chunk, list[_Slab]]:
    """Write a chunk's tiles into `out` (tiles, pixels, C). Returns what the backward pass needs."""
    stop = scene.settings.min_transmittance
    middles = scene.tile_centres(chunk.tile)
    front = out.new_ones(len(chunk.tile), out.shape[1])
    image = out.new_zeros(len(chunk.tile), *out.shape[1:])
    slabs: list[_Slab] = []
    for first in range(0, int(chunk.counts[0]), SLAB):
        rows = _open_rows(chunk, front, first, stop)
        if rows is None:
            break
        splats, empty = _slab_splats(scene.tiles, chunk, rows, first)
        slab = _Slab(rows, splats, empty, front[rows].clone())
        alpha, _ = scene.alphas(slab, middles[rows])
        behind, weights = _weights(alpha, slab.transmittance, stop)
        front[rows] = behind[-1]
        share = torch.bmm(weights.permute(1, 2, 0), scene.slab_values(slab))
        if isinstance(rows, slice):
            image[rows].add_(share)
        else:
            image.index_add_(0, rows, share)
        slabs.append(slab)
    out[chunk.tile] = image
    return chunk, slabs


def _open_rows(chunk: _Chunk, front: Tensor, first: int, stop: float) -> Tensor | slice | None:
    """Tiles of the chunk that continue at position `first` of their lists; a slice if they are nearly all of a run."""
    number = int((chunk.counts > first).sum())
    is_open = front[:number].amax(dim=1) > stop
    still_open = int(is_open.sum())
    if still_open == 0:
        return None
    return slice(0, number) if still_open > 0.9 * number else is_open.nonzero()[:, 0]


def _slab_splats(tiles: TileLists, chunk: _Chunk, rows: Tensor | slice, first: int) -> tuple[Tensor, Tensor]:
    """(SLAB, T) splats, and a mask of padding, which repeats the tile's last splat."""
    place = torch.arange(first, first + SLAB)[:, None]
    counts = chunk.counts[rows]
    return tiles.splats[chunk.starts[rows] + place.minimum(counts - 1)], place >= counts


def _weights(alpha: Tensor, front: Tensor, stop: float) -> tuple[Tensor, Tensor]:
    """Transmittances (SLAB + 1, T, pixels) before every splat and after the last, and weights (SLAB, T, pixels)."""
    through = 1 - alpha
    behind = torch.empty(len(alpha) + 1, *front.shape, dtype=alpha.dtype)
    behind[0] = front
    for k in range(len(alpha)):  # a loop over long vectors; `cumprod` along an axis is ten times slower
        torch.mul(behind[k], through[k], out=behind[k + 1])
    weights = alpha * behind[:-1]
    if float(behind[-1].amin()) <= stop:
        weights.masked_fill_(behind[1:] <= stop, 0)
    return behind, weights


def _blend_backward(scene: _Scene, chunk: _Chunk, slabs: list[_Slab], grad_out: Tensor, sums: _Sums) -> None:
    """Add a chunk's gradients to `sums`, from back to front.

    With q_k = w_k (value_k . gradient of the pixel) and S_k the sum of the q behind k, the gradient of the exponent of
    splat k is q_k - S_k alpha_k / (1 - alpha_k). No gradient passes where alpha is clamped.
    """
    middles = scene.tile_centres(chunk.tile)
    grad_tiles = grad_out[chunk.tile]
    behind = grad_out.new_zeros(grad_tiles.shape[:2])
    for slab in reversed(slabs):
        alpha, offsets = scene.alphas(slab, middles[slab.rows])
        _, weights = _weights(alpha, slab.transmittance, scene.settings.min_transmittance)
        grad_pixels, splats = grad_tiles[slab.rows], slab.splats.flatten()
        grad_values = torch.bmm(weights.transpose(0, 1), grad_pixels).transpose(0, 1)
        sums.values.index_add_(0, splats, grad_values.reshape(len(splats), -1))

        q = torch.bmm(scene.slab_values(slab), grad_pixels.mT).transpose(0, 1) * weights
        later = torch.empty(SLAB + 1, *q.shape[1:], dtype=q.dtype)
        later[-1] = behind[slab.rows]
        for k in reversed(range(SLAB)):
            torch.add(later[k + 1], q[k], out=later[k])
        behind[slab.rows] = later[0]
        grad_exponent = q.addcmul_(later[1:], alpha / (1 - alpha), value=-1)
        if scene.clamps:
            grad_exponent.masked_fill_(alpha >= scene.settings.max_alpha, 0)
        moments = (grad_exponent.reshape(len(splats), -1) @ scene.basis.T).view(*slab.splats.shape, 6)
        sums.moments.index_add_(0, splats, _shift_moments(moments, *offsets).view(-1, 6))


def _shift_moments(moments: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Moments (..., 6) about the middle of a tile to those about centres that lie (-dx, -dy) from it."""
    xx, xy, yy, x, y, one = moments.unbind(-1)
    x_moved, y_moved = x + dx * one, y + dy * one
    return torch.stack(
        [xx + dx * (x + x_moved), xy + dx * y + dy * x_moved, yy + dy * (y + y_moved), x_moved, y_moved, one], dim=-1
    )


def _image_of_tiles(out: Tensor, tiles: TileLists, size: tuple[int, int]) -> Tensor:
    """(tiles, pixels, C) to (C, H, W)."""
    (rows, columns), side = tiles.grid, tiles.tile_size
    image = out.view(rows, columns, side, side, -1).permute(4, 0, 2, 1, 3)
    return image.reshape(-1, rows * side, columns * side)[:, : size[0], : size[1]]


def _tiles_of_image(image: Tensor, tiles: TileLists) -> Tensor:
    """(C, H, W) to (tiles, pixels, C); zero outside the image."""
    (rows, columns), side = tiles.grid, tiles.tile_size
    padded = F.pad(image, (0, columns * side - image.shape[2], 0, rows * side - image.shape[1]))
    parts = padded.view(-1, rows, side, columns, side).permute(1, 3, 2, 4, 0)
    return parts.reshape(rows * columns, side * side, -1)
