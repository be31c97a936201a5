"""Houses, towers and castle walls built from primitives.

The frame is that of `furniture`, turned: the origin is on the ground in the middle of the front, x runs along it, y
into the street and z up, so that the building lies at y < 0. Sizes are metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.rooms.furnishing.furniture import Furniture, Rng
from common.rooms.looks.materials import Material
from common.rooms.primitives import BOX, CYLINDER, ELLIPSOID, OTHER, WALL
from common.rooms.worlds.outdoor_materials import glass, masonry, paint, roofing, trim


@dataclass
class _Front:
    """The face of a house: a grid of windows, and their looks."""

    width: float
    storeys: int
    columns: int
    storey: float
    """Metres from one storey to the next."""
    base: float
    """Height of the lowest floor above the ground."""
    wide: float
    tall: float
    """Size of a window."""
    wall: Material
    trim: Material
    glass: Material

    def place(self, column: int, row: int) -> tuple[float, float]:
        """x and z of the middle of a window."""
        return (
            ((column + 0.5) / self.columns - 0.5) * (self.width - 0.6),
            self.base + row * self.storey + self.storey * 0.55,
        )


def house(rng: Rng) -> Furniture:
    """A house with windows, a door and a roof."""
    storeys = int(rng.choice([1, 2, 3, 4], p=(0.2, 0.4, 0.25, 0.15)))
    width, depth, storey = rng.uniform(5, 15), rng.uniform(5, 11), rng.uniform(2.7, 3.8)
    spacing = rng.uniform(1.7, 3.2)
    columns = max(2, round(width / spacing))
    spacing = (width - 0.6) / columns
    front = _Front(
        width,
        storeys,
        columns,
        storey,
        rng.uniform(0.1, 0.9),
        min(spacing * rng.uniform(0.4, 0.65), 1.8),
        storey * rng.uniform(0.4, 0.6),
        masonry(rng),
        trim(rng),
        glass(rng),
    )
    height = front.base + storeys * storey
    item = Furniture(size=(width, depth, height))
    deep = rng.uniform(0.12, 0.35) if rng.random() < 0.6 else 0.0
    item.add(BOX, (0, -depth / 2 - deep, height / 2), (width, depth, height), WALL, front.wall)
    if deep:
        _piers(item, front, height, deep)
    plinth = masonry(rng) if rng.random() < 0.5 else front.trim
    item.add(BOX, (0, -depth / 2, front.base / 2), (width + 0.16, depth + 0.16, front.base), WALL, plinth)
    _windows(item, rng, front, deep)
    if rng.random() < 0.5:
        for row in range(1, storeys):
            z = front.base + row * storey
            item.add(BOX, (0, 0.03, z), (width, rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3)), WALL, front.trim)
    if rng.random() < 0.5:
        for side in (-1, 1):
            item.add(BOX, (side * (width / 2 - 0.15), 0, height / 2), (0.36, 0.14, height), WALL, front.trim)
    if rng.random() < 0.25:
        _portico(item, rng, front)
    if storeys > 1 and rng.random() < 0.3:
        _balcony(item, rng, front)
    _side_windows(item, rng, front, depth, deep)
    _roof(item, rng, front, depth, height)
    return item


def _piers(item: Furniture, front: _Front, height: float, deep: float) -> None:
    """The outer layer of a wall around its windows, which leaves them in niches."""
    edges = [-front.width / 2]
    for column in range(front.columns):
        x, _ = front.place(column, 0)
        edges += [x - front.wide / 2, x + front.wide / 2]
    edges.append(front.width / 2)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        size = end - start, deep, height
        item.add(BOX, ((start + end) / 2, -deep / 2, height / 2), size, WALL, front.wall)
    levels = [0.0]
    for row in range(front.storeys):
        _, z = front.place(0, row)
        levels += [z - front.tall / 2, z + front.tall / 2]
    levels.append(height)
    for low, high in zip(levels[::2], levels[1::2], strict=True):
        size = front.width, deep - 0.01, high - low
        item.add(BOX, (0, -deep / 2 - 0.005, (low + high) / 2), size, WALL, front.wall)


def _windows(item: Furniture, rng: Rng, front: _Front, deep: float) -> None:
    """Windows in every field of the front, but for the doors."""
    doors = {int(rng.integers(front.columns))} if rng.random() < 0.85 else set()
    bars, shutters, sills = rng.integers(0, 3, 2), rng.random() < 0.3, rng.random() < 0.6
    shutter = paint(rng)
    leaf = paint(rng)
    for row in range(front.storeys):
        for column in range(front.columns):
            x, z = front.place(column, row)
            if row == 0 and column in doors:
                _door(item, front, x, leaf)
                continue
            if rng.random() < 0.04:
                continue
            y = -deep
            if not deep:
                size = front.wide + 0.24, 0.1, front.tall + 0.24
                item.add(BOX, (x, 0, z), size, WALL, front.trim)
                y = 0.04
            item.add(BOX, (x, y, z), (front.wide, 0.06, front.tall), WALL, front.glass)
            for k in range(bars[0] + 1):
                along = x + front.wide * ((k + 1) / (bars[0] + 2) - 0.5)
                item.add(BOX, (along, y + 0.02, z), (0.06, 0.07, front.tall), WALL, front.trim)
            for k in range(bars[1]):
                up = z + front.tall * ((k + 1) / (bars[1] + 1) - 0.5)
                item.add(BOX, (x, y + 0.02, up), (front.wide, 0.07, 0.06), WALL, front.trim)
            if sills:
                low = z - front.tall / 2 - 0.06
                item.add(BOX, (x, 0.05, low), (front.wide + 0.2, 0.3, 0.1), WALL, front.trim)
            if shutters:
                for side in (-1, 1):
                    center = x + side * front.wide * 0.76, 0.04, z
                    item.add(BOX, center, (front.wide * 0.46, 0.07, front.tall), WALL, shutter)


def _door(item: Furniture, front: _Front, x: float, leaf: Material) -> None:
    """A door with its frame and steps."""
    wide, tall = min(1.3, front.wide + 0.2), 2.2
    item.add(BOX, (x, 0, front.base + tall / 2 + 0.1), (wide + 0.3, 0.12, tall + 0.2), WALL, front.trim)
    item.add(BOX, (x, 0.03, front.base + tall / 2), (wide, 0.12, tall), WALL, leaf)
    steps = max(1, round(front.base / 0.17))
    for k in range(steps):
        z = front.base * (k + 1) / steps
        out = 0.3 * (steps - k) + 0.2
        item.add(BOX, (x, out / 2, z / 2), (wide + 0.9, out, z), WALL, front.trim)


def _portico(item: Furniture, rng: Rng, front: _Front) -> None:
    """Columns before the front that carry a beam."""
    count, out = int(rng.integers(2, 7)), rng.uniform(0.9, 2.5)
    rows = int(rng.integers(1, front.storeys + 1))
    height, thick = front.base + rows * front.storey * 0.95, rng.uniform(0.25, 0.6)
    span = front.width * rng.uniform(0.4, 0.95)
    for k in range(count):
        x = span * (k / max(1, count - 1) - 0.5)
        item.add(CYLINDER, (x, out, height / 2), (thick, thick, height), WALL, front.trim)
        for z in (0.15, height - 0.12):
            item.add(BOX, (x, out, z), (thick * 1.5, thick * 1.5, 0.25), WALL, front.trim)
    item.add(BOX, (0, out / 2, height + 0.2), (span + 1, out + 1, 0.5), WALL, front.trim)
    if rng.random() < 0.5:
        for k in range(6):
            width = (span + 1) * (1 - (k + 0.5) / 6)
            item.add(BOX, (0, out / 2, height + 0.55 + k * 0.2), (width, out + 0.8, 0.2), WALL, front.wall)


def _balcony(item: Furniture, rng: Rng, front: _Front) -> None:
    """A slab with a railing before an upper storey."""
    z = front.base + front.storey * int(rng.integers(1, front.storeys))
    width, out = front.width * rng.uniform(0.25, 0.9), rng.uniform(0.8, 1.5)
    item.add(BOX, (0, out / 2, z), (width, out, 0.18), WALL, front.trim)
    item.add(BOX, (0, out - 0.05, z + 1.0), (width, 0.08, 0.08), WALL, front.trim)
    for k in range(int(width / 0.35)):
        x = width * ((k + 0.5) / int(width / 0.35) - 0.5)
        item.add(BOX, (x, out - 0.05, z + 0.5), (0.05, 0.05, 1.0), WALL, front.trim)


def _side_windows(item: Furniture, rng: Rng, front: _Front, depth: float, deep: float) -> None:
    """Some windows on both gables."""
    for side in (-1, 1):
        for row in range(front.storeys):
            for share in (0.3, 0.7):
                if rng.random() < 0.6:
                    _, z = front.place(0, row)
                    center = side * front.width / 2, -deep - depth * share, z
                    item.add(BOX, center, (0.1, front.wide + 0.2, front.tall + 0.2), WALL, front.trim)
                    item.add(BOX, center, (0.14, front.wide, front.tall), WALL, front.glass)


def _roof(item: Furniture, rng: Rng, front: _Front, depth: float, height: float) -> None:
    """A roof in steps, with eaves and chimneys: gabled along the street or across it, hipped, or flat."""
    kind = str(rng.choice(["along", "across", "hip", "flat"], p=(0.35, 0.25, 0.2, 0.2)))
    look, over = roofing(rng), rng.uniform(0.15, 0.6)
    rise = 0.4 if kind == "flat" else rng.uniform(0.3, 0.7) * min(depth, front.width)
    if kind == "flat":
        for x, y, wide, long in (
            (0, 0, front.width + 0.3, 0.3),
            (0, -depth, front.width + 0.3, 0.3),
            (-front.width / 2, -depth / 2, 0.3, depth),
            (front.width / 2, -depth / 2, 0.3, depth),
        ):
            item.add(BOX, (x, y, height + 0.3), (wide, long, rng.uniform(0.4, 0.9)), WALL, front.trim)
    else:
        steps = max(8, int(rise / 0.22))
        for k in range(steps):
            part = 1 - (k + 0.5) / steps
            wide = (front.width + 2 * over) * (part if kind == "across" else 0.4 + 0.6 * part if kind == "hip" else 1)
            long = (depth + 2 * over) * (part if kind != "across" else 1)
            z = height + (k + 0.5) * rise / steps
            item.add(BOX, (0, -depth / 2, z), (wide, long, rise / steps), OTHER, look)
    for _ in range(rng.integers(0, 3)):
        x, y = rng.uniform(-0.35, 0.35) * front.width, -depth * rng.uniform(0.35, 0.65)
        item.add(BOX, (x, y, height + rise * 0.6), (0.6, 0.6, rise * 0.9 + 1.0), OTHER, front.wall)


def tower(rng: Rng, wall: Material | None = None) -> Furniture:
    """A round or square tower with slits, and battlements or a pointed roof."""
    look = wall or masonry(rng)
    wide, height = rng.uniform(2.5, 6), rng.uniform(7, 18)
    round_ = rng.random() < 0.6
    item = Furniture(size=(wide, wide, height))
    middle = -wide / 2
    item.add(CYLINDER if round_ else BOX, (0, middle, height / 2), (wide, wide, height), WALL, look)
    item.add(CYLINDER if round_ else BOX, (0, middle, height - 0.5), (wide + 0.6, wide + 0.6, 1.0), WALL, look)
    item.add(CYLINDER if round_ else BOX, (0, middle, 0.4), (wide + 0.5, wide + 0.5, 0.8), WALL, look)
    dark, frame = glass(rng), trim(rng)
    for row in range(int(height / 3)):
        for angle in np.arange(4) * math.pi / 2 + (rng.normal() * 0.4 if round_ else 0):
            x, y = wide / 2 * math.sin(angle), middle + wide / 2 * math.cos(angle)
            item.add(BOX, (x, y, row * 3 + 2), (0.9, 0.2, 1.6), WALL, frame, -angle)
            item.add(BOX, (x, y, row * 3 + 2), (0.55, 0.3, 1.2), WALL, dark, -angle)
    if rng.random() < 0.5:
        for k in range(12 if round_ else 8):
            angle = 2 * math.pi * k / (12 if round_ else 8) + math.pi / 8
            reach = wide / 2 * (1.05 if round_ else 1.05 / max(abs(math.sin(angle)), abs(math.cos(angle))))
            center = reach * math.sin(angle), middle + reach * math.cos(angle), height + 0.4
            item.add(BOX, center, (0.8, 0.45, 0.8), WALL, look, -angle if round_ else 0.0)
    else:
        roof, rise = roofing(rng), wide * rng.uniform(0.5, 1.6)
        for k in range(16):
            size = (wide + 1.0) * (1 - (k + 0.5) / 16)
            center = 0, middle, height + (k + 0.5) * rise / 16
            item.add(CYLINDER if round_ else BOX, center, (size, size, rise / 16), OTHER, roof)
    return item


def church(rng: Rng) -> Furniture:
    """A nave with a dome or a tower at its front."""
    item = house(rng)
    if rng.random() < 0.5:
        size, z = rng.uniform(0.4, 0.7) * min(item.size[:2]), item.size[2]
        item.add(CYLINDER, (0, -item.size[1] / 2, z + 1.2), (size, size, 4.0), WALL, masonry(rng))
        item.add(ELLIPSOID, (0, -item.size[1] / 2, z + 3), (size * 1.1, size * 1.1, size * 1.1), OTHER, roofing(rng))
    else:
        item.parts += tower(rng).moved(rng.uniform(-0.4, 0.4) * item.size[0], 1.0, 0, 0).parts
    return item


def castle(rng: Rng) -> Furniture:
    """A wall with battlements and a gate between towers, and a keep behind it."""
    look, length, height = masonry(rng), rng.uniform(14, 30), rng.uniform(4, 9)
    item = Furniture(size=(length, 6.0, height))
    item.add(BOX, (0, -1, height / 2), (length, 2, height), WALL, look)
    for k in range(int(length / 1.5)):
        x = -length / 2 + 0.75 + k * 1.5
        item.add(BOX, (x, -0.25, height + 0.4), (0.9, 0.5, 0.8), WALL, look)
    gate, frame = rng.uniform(-0.25, 0.25) * length, trim(rng)
    item.add(BOX, (gate, 0, 2.0), (3.6, 0.3, 4.0), WALL, frame)
    item.add(BOX, (gate, 0.05, 1.7), (2.6, 0.4, 3.4), WALL, paint(rng))
    item.add(CYLINDER, (gate, 0.0, 3.4), (2.6, 0.5, 0.9), WALL, frame)
    ends = [-length / 2, length / 2, gate - 4, gate + 4]
    for x in ends[: int(rng.integers(2, 5))]:
        item.parts += tower(rng, look).moved(x, rng.uniform(0.5, 1.5), 0, 0).parts
    for _ in range(rng.integers(2, 8)):
        x, z = rng.uniform(-0.45, 0.45) * length, height * rng.uniform(0.35, 0.8)
        item.add(BOX, (x, 0, z), (0.4, 0.12, 1.3), WALL, frame)
    keep = house(rng) if rng.random() < 0.6 else tower(rng, look)
    item.parts += keep.moved(rng.uniform(-0.3, 0.3) * length, -rng.uniform(5, 10), rng.uniform(0, 4), 0).parts
    return item
