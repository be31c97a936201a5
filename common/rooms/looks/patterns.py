"""Texture patterns: each function returns (3, size, size), two blend weights and a detail factor (0.5 is neutral).

All repeat without a seam, except `picture` and `glyphs`, which are meant to fill a face once.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def _uniform(generator: Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _integer(generator: Generator, low: int, high: int) -> int:
    """A random integer, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def noise(size: int, generator: Generator, slope: float = 1.5, stretch: float = 1.0) -> Tensor:
    """Periodic noise (size, size), mean 0 and deviation 1.

    The amplitude falls as frequency^-slope; features are `stretch` times longer along x.
    """
    fy = torch.fft.fftfreq(size, 1 / size)[:, None]
    fx = torch.fft.rfftfreq(size, 1 / size)[None] * stretch
    amplitude = (fy * fy + fx * fx).clamp_min(1).pow(-slope / 2)
    amplitude[0, 0] = 0
    phase = torch.rand(amplitude.shape, generator=generator) * (2 * math.pi)
    field = torch.fft.irfft2(torch.polar(amplitude, phase), s=(size, size))
    return field / field.std()


def _grid(size: int) -> tuple[Tensor, Tensor]:
    """Row and column coordinates in [0, 1)."""
    axis = (torch.arange(size) + 0.5) / size
    return axis[:, None].expand(size, size), axis[None].expand(size, size)


def _pack(first: Tensor, second: Tensor, detail: Tensor) -> Tensor:
    return torch.stack((first, second, detail)).float().clamp(0, 1)


def plain(size: int, generator: Generator) -> Tensor:
    """Painted plaster: hardly any contrast, with a few scuffs and stains."""
    stains = torch.sigmoid(4 * (noise(size, generator, 1.4) - 1.8)) * 0.5
    return _pack(0.15 * torch.sigmoid(noise(size, generator)), stains, 0.5 + 0.025 * noise(size, generator, 0.9))


def mottled(size: int, generator: Generator) -> Tensor:
    """Stone, carpet or stained plaster: noise at all scales."""
    slope = _uniform(generator, 0.9, 1.6)
    spots = torch.sigmoid(6 * (noise(size, generator, 1.1) - 1.3))
    return _pack(torch.sigmoid(2 * noise(size, generator, slope)), spots, 0.5 + 0.05 * noise(size, generator, 0.7))


def _grain(size: int, generator: Generator) -> Tensor:
    """Wood grain along x, in about [0, 1]."""
    row, _ = _grid(size)
    rings = _integer(generator, 6, 16)
    warp = noise(size, generator, 1.8, stretch=6)
    lines = noise(size, generator, 0.8, stretch=20)
    return 0.5 + 0.33 * torch.sin(2 * math.pi * (rings * row + 0.6 * warp)) + 0.15 * lines


def wood(size: int, generator: Generator) -> Tensor:
    """A board with grain and knots."""
    knots = torch.sigmoid(6 * (noise(size, generator, 1.6, stretch=2) - 2.0))
    return _pack(_grain(size, generator), knots, 0.5 + 0.03 * noise(size, generator, 0.8, stretch=10))


def _cells(size: int, rows: int, columns: int, generator: Generator, shift: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of a wall or floor: distance to the joints in periods, a random number and an index of each cell."""
    row, column = _grid(size)
    band = (row * rows).long()
    if shift:
        column = (column + torch.rand(rows, generator=generator)[band]) % 1
    across = (column * columns).long()
    joint = torch.minimum(_to_edge(row * rows) / rows, _to_edge(column * columns) / columns)
    value = torch.rand(rows * columns, generator=generator)
    return joint, value[band * columns + across], band * columns + across


def _to_edge(coordinate: Tensor) -> Tensor:
    part = coordinate % 1
    return torch.minimum(part, 1 - part)


def planks(size: int, generator: Generator) -> Tensor:
    """Floor boards of different tone."""
    joint, value, _ = _cells(size, _integer(generator, 6, 10), _integer(generator, 1, 2), generator, shift=True)
    gap = (joint < 0.006).float()
    grain = 0.55 * _grain(size, generator) + 0.6 * (value - 0.3)
    return _pack(grain, gap * 0.8, 0.5 + 0.04 * noise(size, generator, 0.8, stretch=8) - 0.2 * gap)


def checker(size: int, generator: Generator) -> Tensor:
    """A chequerboard of two worn colours."""
    count = 2 * _integer(generator, 1, 3)
    row, column = _grid(size)
    fields = ((row * count).long() + (column * count).long()) % 2
    worn = 0.15 * torch.sigmoid(noise(size, generator))
    spots = torch.sigmoid(5 * (noise(size, generator, 1.2) - 1.9)) * 0.6
    return _pack(fields * 0.85 + worn, spots, 0.5 + 0.05 * noise(size, generator, 0.9))


def stripes(size: int, generator: Generator) -> Tensor:
    """Wallpaper or cloth with stripes of random widths, along y."""
    edges = torch.rand(2 * _integer(generator, 2, 6), generator=generator).sort().values
    _, column = _grid(size)
    side = torch.bucketize(column[0].contiguous(), edges)
    thin = (_to_edge(column[0] * _integer(generator, 2, 5)) < 0.05).float()
    first = (side % 2).float().expand(size, size)
    return _pack(first, thin.expand(size, size) * 0.8, 0.5 + 0.05 * noise(size, generator, 0.8))


def bricks(size: int, generator: Generator) -> Tensor:
    """A brick wall."""
    joint, value, _ = _cells(size, 2 * _integer(generator, 4, 6), _integer(generator, 3, 5), generator, shift=True)
    mortar = (joint < 0.008).float()
    rough = noise(size, generator, 0.8)
    return _pack(value + 0.1 * rough, mortar * 0.95, 0.5 + 0.07 * rough * (1 - mortar))


def tiles(size: int, generator: Generator) -> Tensor:
    """Square tiles with grout; some in another colour."""
    count = _integer(generator, 3, 6)
    joint, value, _ = _cells(size, count, count, generator, shift=False)
    grout = (joint < 0.008).float()
    odd = (value > _uniform(generator, 0.6, 1.0)).float()
    marble = 0.25 * torch.sigmoid(3 * noise(size, generator, 1.6))
    return _pack((odd + marble + 0.25 * value) * (1 - grout), grout * 0.9, 0.5 + 0.03 * noise(size, generator, 0.9))


def blobs(size: int, generator: Generator) -> Tensor:
    """Dots and rings at random places."""
    row, column = _grid(size)
    first, second = torch.zeros(size, size), torch.zeros(size, size)
    for _ in range(_integer(generator, 18, 40)):
        dy = (row - _uniform(generator, 0, 1) + 0.5) % 1 - 0.5
        dx = (column - _uniform(generator, 0, 1) + 0.5) % 1 - 0.5
        radius = _uniform(generator, 0.02, 0.11)
        distance = (dx * dx + dy * dy).sqrt()
        target = first if _uniform(generator, 0, 1) < 0.6 else second
        inner = radius * 0.6 if _uniform(generator, 0, 1) < 0.3 else -1.0
        target[(distance < radius) & (distance > inner)] = _uniform(generator, 0.6, 1)
    return _pack(first, second, 0.5 + 0.05 * noise(size, generator, 0.8))


def fabric(size: int, generator: Generator) -> Tensor:
    """A woven plaid."""
    row, column = _grid(size)
    count = _integer(generator, 1, 4)
    duty = _uniform(generator, 0.1, 0.35)
    across, along = (_to_edge(row * count) < duty).float(), (_to_edge(column * count) < duty).float()
    thread = torch.sin(2 * math.pi * 42 * row) * torch.sin(2 * math.pi * 42 * column)
    line = torch.maximum(_to_edge(row * count + 0.25) < 0.04, _to_edge(column * count + 0.25) < 0.04).float()
    return _pack(0.5 * (across + along), line * 0.7, 0.5 + 0.07 * thread + 0.04 * noise(size, generator, 0.9))


def picture(size: int, generator: Generator) -> Tensor:
    """A framed print: a landscape of noise with discs, bars and a frame."""
    row, column = _grid(size)
    first = torch.sigmoid(3 * noise(size, generator, 1.7) + 4 * (row - 0.5) * _uniform(generator, -1, 1))
    second = torch.sigmoid(8 * (noise(size, generator, 1.8) - _uniform(generator, 0, 1)))
    for _ in range(_integer(generator, 4, 9)):
        y, x = _uniform(generator, 0.1, 0.9), _uniform(generator, 0.1, 0.9)
        half_y, half_x = _uniform(generator, 0.03, 0.25), _uniform(generator, 0.03, 0.25)
        inside = torch.maximum((row - y).abs() / half_y, (column - x).abs() / half_x) < 1
        if _uniform(generator, 0, 1) < 0.5:
            inside = ((row - y) / half_y) ** 2 + ((column - x) / half_y) ** 2 < 1
        target = first if _uniform(generator, 0, 1) < 0.5 else second
        target[inside] = _uniform(generator, 0, 1)
    border = torch.minimum(_to_edge(row), _to_edge(column))
    frame, mount = border < 0.05, (border < 0.1) & (border > 0.05)
    first[frame | mount], second[frame], second[mount] = 0, 1, 0
    return _pack(first, second, 0.5 + 0.04 * noise(size, generator, 0.9))


def glyphs(size: int, generator: Generator) -> Tensor:
    """Lines of marks like print on a page, a book spine or a screen."""
    lines, columns = _integer(generator, 8, 16), _integer(generator, 16, 28)
    row, column = _grid(size)
    index = (row * lines).long() * columns + (column * columns).long()
    marks = torch.rand(lines * columns, generator=generator)
    height = torch.rand(lines * columns, generator=generator) * 0.4 + 0.3
    inside = ((row * lines) % 1 < height[index]) & ((column * columns) % 1 < 0.75)
    border = torch.minimum(_to_edge(row), _to_edge(column)) > 0.07
    ink = ((marks[index] > 0.35) & inside & border).float()
    heading = ((row > 0.08) & (row < 0.3) & (column > 0.1) & (column < _uniform(generator, 0.4, 0.9))).float()
    return _pack(ink * (1 - heading), heading * 0.9, 0.5 + 0.03 * noise(size, generator, 0.9))
