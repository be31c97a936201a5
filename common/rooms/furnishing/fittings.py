"""Storage, lamps, plants and things on walls. Same frame as `furniture`: the wall is behind, y points out of it."""

from __future__ import annotations

import math

from common.rooms.furnishing.furniture import Furniture, Rng, trinket
from common.rooms.looks.materials import Style
from common.rooms.primitives import BOX, CYLINDER, ELLIPSOID, OTHER


def bookcase(rng: Rng, style: Style) -> Furniture:
    """A bookcase with books and things on its boards."""
    width, depth, height = rng.uniform(0.6, 1.2), rng.uniform(0.26, 0.36), rng.uniform(1.0, 2.1)
    item = Furniture(size=(width, depth, height))
    for side in (-1, 1):
        item.add(BOX, (side * (width / 2 - 0.012), 0, height / 2), (0.024, depth, height), OTHER, style.frame)
    item.add(BOX, (0, -depth / 2 + 0.006, height / 2), (width, 0.012, height), OTHER, style.frame)
    boards = max(3, round(height / 0.38))
    gap = (height - 0.06) / boards
    for k in range(boards + 1):
        item.add(BOX, (0, 0, 0.05 + k * gap - 0.012), (width - 0.03, depth, 0.024), OTHER, style.frame)
    for k in range(boards):
        _fill_board(item, rng, style, width - 0.08, 0.05 + k * gap, gap - 0.04)
    return item


def _fill_board(item: Furniture, rng: Rng, style: Style, width: float, z: float, room: float) -> None:
    """Up to six book blocks or a thing or two on one board."""
    if rng.random() < 0.25:
        trinket(item, rng, style, rng.uniform(-0.3, 0.3) * width, 0, z, tall=min(room, 0.3))
        return
    x = -width / 2
    for _ in range(6):
        thick = rng.uniform(0.04, 0.16)
        if x + thick > width / 2:
            break
        height = room * rng.uniform(0.6, 0.95)
        item.add(BOX, (x + thick / 2, 0.0, z + height / 2), (thick - 0.005, 0.2, height), OTHER, style.book(rng))
        x += thick + (rng.uniform(0.05, 0.3) if rng.random() < 0.2 else 0)


def cabinet(rng: Rng, style: Style) -> Furniture:
    """A wardrobe or a chest of drawers, with fronts and knobs, things on top of a low one."""
    tall = rng.random() < 0.4
    width, depth = rng.uniform(0.8, 1.6), rng.uniform(0.42, 0.6)
    height = rng.uniform(1.8, 2.1) if tall else rng.uniform(0.7, 1.1)
    item = Furniture(size=(width, depth, height if tall else height + 0.3))
    body = style.frame if rng.random() < 0.6 else style.paint(rng)
    front = body if rng.random() < 0.5 else style.paint(rng)
    item.add(BOX, (0, 0, height / 2), (width, depth, height), OTHER, body)
    columns, rows = (2, 1) if tall else (int(rng.integers(1, 3)), int(rng.integers(2, 4)))
    cell_x, cell_z = (width - 0.04) / columns, (height - 0.1) / rows
    for column in range(columns):
        for row in range(rows):
            x, z = -width / 2 + 0.02 + (column + 0.5) * cell_x, 0.07 + (row + 0.5) * cell_z
            item.add(BOX, (x, depth / 2 + 0.006, z), (cell_x - 0.02, 0.018, cell_z - 0.02), OTHER, front)
            knob = (x + (0.4 * cell_x * (1 if column == 0 else -1) if tall else 0), depth / 2 + 0.03, z)
            item.add(ELLIPSOID, knob, (0.035, 0.035, 0.1 if tall else 0.035), OTHER, style.dark)
    if not tall:
        for _ in range(rng.integers(1, 4)):
            trinket(item, rng, style, rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.2, 0.2) * depth, height)
    return item


def bedside(rng: Rng, style: Style) -> Furniture:
    """A bedside table with a small lamp."""
    width, height = rng.uniform(0.38, 0.5), rng.uniform(0.42, 0.55)
    item = Furniture(size=(width, 0.42, height + 0.45))
    item.add(BOX, (0, 0, height / 2 + 0.05), (width, 0.4, height - 0.1), OTHER, style.frame)
    item.add(BOX, (0, 0.203, height / 2 + 0.05), (width - 0.05, 0.015, height - 0.18), OTHER, style.table)
    item.add(ELLIPSOID, (0, 0.22, height / 2 + 0.05), (0.03, 0.03, 0.03), OTHER, style.dark)
    item.add(CYLINDER, (0, 0, height + 0.1), (0.05, 0.05, 0.2), OTHER, style.thing(rng))
    item.add(CYLINDER, (0, 0, height + 0.29), (0.22, 0.22, 0.18), OTHER, style.glow(rng, rng.uniform(0.4, 1.2)))
    return item


def television(rng: Rng, style: Style) -> Furniture:
    """A low board with a television."""
    width, height, screen = rng.uniform(1.2, 1.7), rng.uniform(0.4, 0.55), rng.uniform(0.9, 1.2)
    item = Furniture(size=(width, 0.42, height + 0.75))
    item.add(BOX, (0, 0, height / 2 + 0.03), (width, 0.4, height - 0.06), OTHER, style.frame)
    for k in (-1, 1):
        item.add(
            BOX, (k * width / 4, 0.203, height / 2 + 0.03), (width / 2 - 0.04, 0.015, height - 0.14), OTHER, style.table
        )
    item.add(BOX, (0, 0, height + 0.015), (0.4, 0.2, 0.03), OTHER, style.dark)
    item.add(BOX, (0, 0, height + 0.06), (0.08, 0.05, 0.1), OTHER, style.dark)
    item.add(BOX, (0, 0, height + 0.1 + screen * 0.28), (screen, 0.05, screen * 0.56), OTHER, style.dark)
    glass = screen - 0.04, screen * 0.56 - 0.04
    item.add(
        BOX, (0, 0.026, height + 0.1 + screen * 0.28), (glass[0], 0.008, glass[1]), OTHER, style.screen(rng, *glass)
    )
    trinket(item, rng, style, width * 0.4, 0, height)
    return item


def floor_lamp(rng: Rng, style: Style) -> Furniture:
    """A lamp on a pole."""
    height, shade = rng.uniform(1.4, 1.75), rng.uniform(0.3, 0.45)
    item = Furniture(size=(shade, shade, height), lamp=(0, 0, height - 0.12))
    item.add(CYLINDER, (0, 0, 0.015), (0.28, 0.28, 0.03), OTHER, style.dark)
    item.add(CYLINDER, (0, 0, height / 2), (0.03, 0.03, height - 0.1), OTHER, style.dark)
    item.add(CYLINDER, (0, 0, height - 0.13), (shade, shade, 0.26), OTHER, style.glow(rng, 1.6))
    return item


def plant(rng: Rng, style: Style) -> Furniture:
    """A pot with a stem and leaves."""
    pot, height = rng.uniform(0.25, 0.4), rng.uniform(0.7, 1.5)
    item = Furniture(size=(pot + 0.2, pot + 0.2, height))
    item.add(CYLINDER, (0, 0, pot * 0.45), (pot, pot, pot * 0.9), OTHER, style.thing(rng))
    item.add(CYLINDER, (0, 0, height / 2), (0.04, 0.04, height * 0.8), OTHER, style.wood(rng))
    for _ in range(rng.integers(5, 10)):
        angle, out = rng.uniform(0, 2 * math.pi), rng.uniform(0.02, 0.16)
        center = out * math.cos(angle), out * math.sin(angle), rng.uniform(0.55, 0.95) * height
        size = rng.uniform(0.12, 0.34), rng.uniform(0.1, 0.22), rng.uniform(0.08, 0.25)
        item.add(ELLIPSOID, center, size, OTHER, style.leaf(rng), rng.uniform(0, math.pi))
    return item


def clutter(rng: Rng, style: Style) -> Furniture:
    """Boxes, a ball or a stool on the floor."""
    kind = rng.integers(3)
    if kind == 0:
        size = rng.uniform(0.25, 0.5, 3)
        item = Furniture(size=(size[0], size[1], size[2] * 1.8))
        item.add(BOX, (0, 0, size[2] / 2), size, OTHER, style.thing(rng))
        small = size * rng.uniform(0.5, 0.8)
        item.add(BOX, (0, 0, size[2] + small[2] / 2), small, OTHER, style.thing(rng), rng.uniform(-0.5, 0.5))
    elif kind == 1:
        radius = rng.uniform(0.2, 0.5)
        item = Furniture(size=(radius, radius, radius))
        item.add(ELLIPSOID, (0, 0, radius / 2), (radius,) * 3, OTHER, style.thing(rng))
    else:
        width, height = rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5)
        item = Furniture(size=(width, width, height))
        item.add(CYLINDER, (0, 0, height / 2), (width, width, height), OTHER, style.fabric(rng))
    return item


def rug(rng: Rng, style: Style) -> Furniture:
    """A carpet on the floor; `other`, not floor."""
    width, depth = rng.uniform(1.2, 2.4), rng.uniform(0.9, 1.7)
    item = Furniture(size=(width, depth, 0.015))
    item.add(BOX if rng.random() < 0.75 else CYLINDER, (0, 0, 0.006), (width, depth, 0.012), OTHER, style.fabric(rng))
    return item


def picture(rng: Rng, style: Style) -> Furniture:
    """A picture or a poster, to hang with its middle at height 0."""
    width, height = rng.uniform(0.3, 1.1), rng.uniform(0.3, 0.9)
    item = Furniture(size=(width, 0.03, height))
    item.add(BOX, (0, 0, 0), (width, 0.03, height), OTHER, style.picture(rng, width, height))
    return item


def wall_board(rng: Rng, style: Style) -> Furniture:
    """A board on the wall with things on it, to hang with its top at height 0."""
    width = rng.uniform(0.6, 1.2)
    item = Furniture(size=(width, 0.24, 0.5))
    item.add(BOX, (0, 0, -0.015), (width, 0.24, 0.03), OTHER, style.frame)
    for x in (-0.3, 0.0, 0.3):
        if rng.random() < 0.8:
            trinket(item, rng, style, x * width, 0, 0)
    return item


def door(rng: Rng, style: Style) -> Furniture:
    """A door with its frame and handle; it stands on the floor."""
    width, height = rng.uniform(0.8, 0.95), rng.uniform(1.98, 2.1)
    item = Furniture(size=(width + 0.16, 0.06, height + 0.08))
    leaf = style.wood(rng) if rng.random() < 0.5 else style.paint(rng)
    trim = style.white if rng.random() < 0.6 else style.frame
    item.add(BOX, (0, 0, height / 2), (width, 0.04, height), OTHER, leaf)
    for z, tall in ((0.52, 0.75), (1.45, 0.85)):
        item.add(BOX, (0, 0.022, z), (width * 0.66, 0.012, tall), OTHER, leaf)
    for side in (-1, 1):
        item.add(BOX, (side * (width / 2 + 0.04), 0, height / 2), (0.08, 0.06, height), OTHER, trim)
    item.add(BOX, (0, 0, height + 0.04), (width + 0.16, 0.06, 0.08), OTHER, trim)
    side = rng.choice([-1, 1])
    item.add(BOX, (side * (width / 2 - 0.12), 0.045, 1.0), (0.13, 0.03, 0.025), OTHER, style.dark)
    return item


def window(rng: Rng, style: Style) -> Furniture:
    """A bright window with bars, a sill and perhaps curtains, with its middle at height 0."""
    width, height = rng.uniform(0.8, 1.8), rng.uniform(0.9, 1.3)
    item = Furniture(size=(width + 0.2, 0.08, height + 0.2), lamp=(0, 0.45, 0))
    item.add(BOX, (0, -0.02, 0), (width, 0.02, height), OTHER, style.sky(rng, width, height))
    side, top = width / 2, height / 2
    bars = [
        (-side, 0, 0.07, height),
        (side, 0, 0.07, height),
        (0, top, width, 0.07),
        (0, -top, width, 0.07),
        (0, 0, 0.05, height),
        (0, rng.uniform(0, 0.3) * height, width, 0.04),
    ]
    for x, z, wide, tall in bars:
        item.add(BOX, (x, 0, z), (wide, 0.06, tall), OTHER, style.white)
    item.add(BOX, (0, 0.06, -height / 2 - 0.05), (width + 0.2, 0.2, 0.03), OTHER, style.white)
    if rng.random() < 0.5:
        cloth = style.fabric(rng)
        for side in (-1, 1):
            for fold in range(2):
                x = side * (width / 2 + 0.13 - fold * 0.14)
                item.add(CYLINDER, (x, 0.09, -0.05), (0.15, 0.09, height + 0.4), OTHER, cloth)
        item.add(BOX, (0, 0.09, height / 2 + 0.17), (width + 0.5, 0.03, 0.03), OTHER, style.dark)
        item.size = (width + 0.5, 0.14, height + 0.45)
    return item


def clock(rng: Rng, style: Style) -> Furniture:
    """A round clock, with its middle at height 0."""
    radius = rng.uniform(0.22, 0.36)
    item = Furniture(size=(radius, 0.04, radius))
    item.add(ELLIPSOID, (0, 0, 0), (radius, 0.06, radius), OTHER, style.page(rng, radius, radius))
    return item


def ceiling_lamp(rng: Rng, style: Style) -> Furniture:
    """A lamp at the ceiling, which is at height 0."""
    drop = rng.uniform(0.05, 0.5)
    size = rng.uniform(0.25, 0.5)
    item = Furniture(size=(size, size, drop + 0.2), lamp=(0, 0, -drop - 0.05))
    kind = ELLIPSOID if rng.random() < 0.5 else CYLINDER
    item.add(kind, (0, 0, -drop - 0.05), (size, size, rng.uniform(0.1, 0.25)), OTHER, style.glow(rng, 2.0))
    if drop > 0.12:
        item.add(CYLINDER, (0, 0, -drop / 2), (0.02, 0.02, drop), OTHER, style.dark)
    return item
