"""Furniture built from primitives, each in its own frame: x to the right, y out of the wall behind it, z up.

The origin is on the floor in the middle of the footprint. Sizes are metres. Every function draws its sizes from the
given generator and its looks from the style of the room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from common.rooms.looks.materials import Material, Style
from common.rooms.primitives import BED, BOX, CHAIR, CYLINDER, ELLIPSOID, OTHER, SOFA, TABLE


@dataclass(frozen=True)
class Part:
    """One primitive of a piece of furniture."""

    kind: int
    center: tuple[float, float, float]
    half_size: tuple[float, float, float]
    label: int
    material: Material
    yaw: float = 0.0


@dataclass
class Furniture:
    """Parts and the box (width, depth, height) that they take up."""

    parts: list[Part] = field(default_factory=list)
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lamp: tuple[float, float, float] | None = None
    """Position of the light, if it is a lamp."""

    def add(self, kind: int, center, size, label: int, material: Material, yaw: float = 0.0) -> None:
        """Add a part by its centre and full sizes."""
        x, y, z = (float(max(length, 0.004)) / 2 for length in size)
        place = float(center[0]), float(center[1]), float(center[2])
        self.parts.append(Part(kind, place, (x, y, z), label, material, float(yaw)))

    def moved(self, x: float, y: float, z: float, yaw: float) -> Furniture:
        """Turned about its origin and moved."""
        cos, sin = math.cos(yaw), math.sin(yaw)

        def place(point):
            return cos * point[0] - sin * point[1] + x, sin * point[0] + cos * point[1] + y, point[2] + z

        parts = [replace(part, center=place(part.center), yaw=part.yaw + yaw) for part in self.parts]
        return Furniture(parts, self.size, place(self.lamp) if self.lamp else None)


Rng = np.random.Generator


def _legs(item: Furniture, width: float, depth: float, height: float, thick: float, label: int, material, round_: bool):
    for x in (-1, 1):
        for y in (-1, 1):
            center = (x * (width - thick) / 2, y * (depth - thick) / 2, height / 2)
            item.add(CYLINDER if round_ else BOX, center, (thick, thick, height), label, material)


def chair(rng: Rng, style: Style) -> Furniture:
    """A chair that looks along +y."""
    width, depth, seat = rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.5), rng.uniform(0.42, 0.48)
    height = seat + rng.uniform(0.35, 0.55)
    frame, cover = style.frame, style.cushion
    item = Furniture(size=(width, depth, height))
    _legs(item, width, depth, seat - 0.03, rng.uniform(0.03, 0.05), CHAIR, frame, rng.random() < 0.4)
    item.add(BOX, (0, 0, seat), (width, depth, 0.06), CHAIR, cover)
    back = -depth / 2 + 0.025
    if style.slatted:
        for x in (-0.45, -0.15, 0.15, 0.45):
            item.add(BOX, (x * width, back, (seat + height) / 2), (0.04, 0.03, height - seat), CHAIR, frame)
        item.add(BOX, (0, back, height - 0.05), (width, 0.04, 0.1), CHAIR, frame)
    else:
        item.add(BOX, (0, back, (seat + 0.1 + height) / 2), (width, 0.05, height - seat - 0.1), CHAIR, cover)
        for x in (-0.4, 0.4):
            item.add(BOX, (x * width, back, seat + 0.08), (0.035, 0.03, 0.16), CHAIR, frame)
    return item


def armchair(rng: Rng, style: Style) -> Furniture:
    item = sofa(rng, style, width=rng.uniform(0.75, 0.95))
    item.parts = [replace(part, label=CHAIR) for part in item.parts]
    return item


def sofa(rng: Rng, style: Style, width: float | None = None) -> Furniture:
    """A sofa with arms, seat cushions and pillows."""
    width = width or rng.uniform(1.4, 2.2)
    depth, seat, height, arm = rng.uniform(0.8, 0.95), rng.uniform(0.38, 0.45), rng.uniform(0.75, 0.95), 0.17
    cover, cushion = style.upholstery, style.fabric(rng) if rng.random() < 0.5 else style.upholstery
    item = Furniture(size=(width, depth, height))
    item.add(BOX, (0, 0, seat * 0.5 - 0.03), (width - 0.02, depth - 0.02, seat - 0.18), SOFA, cover)
    item.add(BOX, (0, -depth / 2 + 0.1, height / 2 + 0.03), (width - 0.04, 0.2, height - 0.08), SOFA, cover)
    for side in (-1, 1):
        item.add(BOX, (side * (width - arm) / 2, 0, 0.34), (arm, depth, 0.54), SOFA, cover)
    count = max(1, round(width / 0.8))
    step = (width - 2 * arm) / count
    for k in range(count):
        x = -width / 2 + arm + (k + 0.5) * step
        item.add(BOX, (x, 0.08, seat), (step - 0.02, depth - 0.2, 0.16), SOFA, cushion)
    for _ in range(rng.integers(0, 4) if width > 1 else rng.integers(0, 2)):
        x = rng.uniform(-0.4, 0.4) * (width - 0.5)
        item.add(ELLIPSOID, (x, -depth / 2 + 0.3, seat + 0.25), (0.42, 0.2, 0.4), SOFA, style.fabric(rng))
    return item


def bed(rng: Rng, style: Style) -> Furniture:
    """A bed with its head at the wall."""
    width, depth = rng.choice([1.0, 1.4, 1.7]) + rng.uniform(-0.1, 0.1), rng.uniform(1.95, 2.1)
    top, head = rng.uniform(0.45, 0.6), rng.uniform(0.8, 1.2)
    sheet, cover = style.light_fabric(rng), style.fabric(rng)
    item = Furniture(size=(width, depth, head))
    item.add(BOX, (0, 0, 0.2), (width, depth, 0.22), BED, style.frame)
    item.add(BOX, (0, 0.02, (0.3 + top) / 2), (width - 0.04, depth - 0.08, top - 0.3), BED, sheet)
    item.add(BOX, (0, -depth / 2 + 0.03, head / 2), (width, 0.06, head), BED, style.frame)
    reach = rng.uniform(0.5, 0.72) * depth
    item.add(BOX, (0, depth / 2 - reach / 2 + 0.01, top - 0.08), (width + 0.03, reach, 0.26), BED, cover)
    count = 1 if width < 1.2 else 2
    for k in range(count):
        x = (k - (count - 1) / 2) * width / 2
        item.add(ELLIPSOID, (x, -depth / 2 + 0.32, top + 0.06), (0.62, 0.42, 0.2), BED, style.light_fabric(rng))
    return item


def table(rng: Rng, style: Style, size: tuple[float, float, float] | None = None) -> Furniture:
    """A table with things on it; round ones stand on a column."""
    width, depth, height = size or (rng.uniform(0.9, 1.7), rng.uniform(0.7, 0.95), rng.uniform(0.7, 0.78))
    item = Furniture(size=(width, depth, height + 0.3))
    top, material = rng.uniform(0.025, 0.05), style.table
    if size is None and rng.random() < 0.25:
        width = depth = max(width * 0.8, 0.8)
        item.size = (width, depth, height + 0.3)
        item.add(CYLINDER, (0, 0, height - top / 2), (width, depth, top), TABLE, material)
        item.add(CYLINDER, (0, 0, height / 2), (0.1, 0.1, height - top), TABLE, style.frame)
        item.add(CYLINDER, (0, 0, 0.02), (width * 0.5, width * 0.5, 0.04), TABLE, style.frame)
        spread = 0.6
    else:
        item.add(BOX, (0, 0, height - top / 2), (width, depth, top), TABLE, material)
        _legs(item, width - 0.06, depth - 0.06, height - top, rng.uniform(0.04, 0.08), TABLE, style.frame, False)
        spread = 0.85
    for _ in range(rng.integers(2, 7)):
        x, y = rng.uniform(-spread / 2, spread / 2, 2)
        trinket(item, rng, style, x * (width - 0.1), y * (depth - 0.1), height)
    return item


def coffee_table(rng: Rng, style: Style) -> Furniture:
    return table(rng, style, (rng.uniform(0.7, 1.1), rng.uniform(0.45, 0.65), rng.uniform(0.36, 0.48)))


def trinket(item: Furniture, rng: Rng, style: Style, x: float, y: float, z: float, tall: float = 0.3) -> None:
    """A small thing that stands at (x, y, z): cup, vase, book pile, ball or box."""
    yaw = rng.uniform(0, math.pi)
    kind = rng.integers(5)
    if kind == 0:
        radius, height = rng.uniform(0.06, 0.1), rng.uniform(0.08, 0.12)
        item.add(CYLINDER, (x, y, z + height / 2), (radius, radius, height), OTHER, style.thing(rng), yaw)
    elif kind == 1:
        width, height = rng.uniform(0.09, 0.16), rng.uniform(0.15, tall)
        item.add(ELLIPSOID, (x, y, z + height * 0.4), (width, width, height * 0.8), OTHER, style.thing(rng), yaw)
        item.add(CYLINDER, (x, y, z + height * 0.6), (width / 2, width / 2, height * 0.8), OTHER, style.thing(rng), yaw)
    elif kind == 2:
        for _ in range(rng.integers(1, 4)):
            thick = rng.uniform(0.02, 0.05)
            size = (rng.uniform(0.14, 0.2), rng.uniform(0.2, 0.28), thick)
            item.add(BOX, (x, y, z + thick / 2), size, OTHER, style.book(rng), yaw + rng.uniform(-0.3, 0.3))
            z += thick
    elif kind == 3:
        radius = rng.uniform(0.1, 0.2)
        item.add(ELLIPSOID, (x, y, z + radius / 2), (radius,) * 3, OTHER, style.thing(rng), yaw)
    else:
        box = rng.uniform(0.08, 0.2, 3)
        item.add(BOX, (x, y, z + box[2] / 2), box, OTHER, style.thing(rng), yaw)


def desk(rng: Rng, style: Style) -> Furniture:
    """A desk at the wall with a screen, a drawer unit and a chair in front."""
    width, depth, height = rng.uniform(1.1, 1.6), rng.uniform(0.6, 0.75), rng.uniform(0.71, 0.77)
    item = Furniture(size=(width, depth + 0.6, 1.3))
    back = -(depth + 0.6) / 2
    middle = back + depth / 2
    item.add(BOX, (0, middle, height - 0.02), (width, depth, 0.04), TABLE, style.table)
    for side in (-1, 1):
        item.add(
            BOX,
            (side * (width / 2 - 0.03), middle, height / 2 - 0.02),
            (0.04, depth - 0.1, height - 0.04),
            TABLE,
            style.frame,
        )
    item.add(BOX, (width / 2 - 0.27, middle, height - 0.27), (0.4, depth - 0.1, 0.4), TABLE, style.table)
    x = rng.uniform(-0.2, 0.1)
    screen = rng.uniform(0.5, 0.75)
    item.add(BOX, (x, middle - 0.12, height + 0.1), (0.06, 0.05, 0.2), OTHER, style.dark)
    item.add(BOX, (x, middle - 0.12, height + 0.01), (0.25, 0.18, 0.02), OTHER, style.dark)
    item.add(BOX, (x, middle - 0.1, height + 0.32), (screen, 0.04, screen * 0.6), OTHER, style.dark)
    item.add(
        BOX,
        (x, middle - 0.079, height + 0.32),
        (screen - 0.03, 0.006, screen * 0.6 - 0.03),
        OTHER,
        style.screen(rng, screen - 0.03, screen * 0.6 - 0.03),
    )
    item.add(BOX, (x, middle + 0.15, height + 0.012), (0.42, 0.14, 0.024), OTHER, style.page(rng, 0.42, 0.14))
    for _ in range(rng.integers(1, 4)):
        trinket(item, rng, style, rng.uniform(0.3, 0.45) * width * rng.choice([-1, 1]), middle, height)
    seat = chair(rng, style)
    seat = seat.moved(rng.uniform(-0.15, 0.15), back + depth + 0.28, 0, math.pi + rng.uniform(-0.6, 0.6))
    item.parts += seat.parts
    return item


def dining_group(rng: Rng, style: Style) -> Furniture:
    """A table with two to six chairs."""
    item = table(rng, style)
    width, depth, height = item.size
    places: list[tuple[float, int]] = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    if width > 1.25:
        places = [(-0.5, 1), (0.5, 1), (-0.5, -1), (0.5, -1), (1, 0), (-1, 0)]
    for px, py in places:
        if rng.random() < 0.2:
            continue
        out = rng.uniform(0.05, 0.25)
        x = px * (width / 2 + out) if py == 0 else px * width / 2
        y = py * (depth / 2 + out)
        yaw = math.atan2(px if py == 0 else 0, -py) if py or px else 0.0
        item.parts += chair(rng, style).moved(x, y, 0, yaw + rng.uniform(-0.35, 0.35)).parts
    item.size = (width + 1.0, depth + 1.0, height)
    return item
