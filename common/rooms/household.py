"""Things and fixtures of rooms that are lived in, for crowded rooms. Same frame as `furniture`.

Things stand with their lowest point at height 0 on whatever is below them.
"""

from __future__ import annotations

import math

from common.rooms.fittings import cabinet
from common.rooms.furniture import Furniture, Rng, chair
from common.rooms.materials import Material, Style, make
from common.rooms.primitives import BOX, CYLINDER, ELLIPSOID, OTHER, TABLE


def _boxed(kind: int, size, material: Material) -> Furniture:
    item = Furniture(size=tuple(float(length) for length in size))
    item.add(kind, (0, 0, size[2] / 2), size, OTHER, material)
    return item


def carton(rng: Rng, style: Style) -> Furniture:
    """A printed box or carton."""
    width, depth, height = rng.uniform(0.06, 0.22), rng.uniform(0.04, 0.16), rng.uniform(0.04, 0.3)
    return _boxed(BOX, (width, depth, height), style.picture(rng, max(width, depth), height))


def bottle(rng: Rng, style: Style) -> Furniture:
    """A bottle with its neck, sometimes with a label."""
    radius, height, look = rng.uniform(0.055, 0.09), rng.uniform(0.14, 0.24), style.thing(rng)
    item = _boxed(CYLINDER, (radius, radius, height), look)
    item.add(CYLINDER, (0, 0, height + 0.035), (radius * 0.4, radius * 0.4, 0.07), OTHER, look)
    if rng.random() < 0.6:
        wide = radius + 0.003
        item.add(CYLINDER, (0, 0, height * 0.45), (wide, wide, height * 0.4), OTHER, style.picture(rng, 0.1, 0.1))
    return item


def cup(rng: Rng, style: Style) -> Furniture:
    """A cup with a handle, or a can."""
    radius, height = rng.uniform(0.06, 0.1), rng.uniform(0.08, 0.13)
    printed = rng.random() < 0.4
    item = _boxed(CYLINDER, (radius, radius, height), style.picture(rng, 0.1, height) if printed else style.thing(rng))
    if not printed:
        item.add(BOX, (radius / 2 + 0.015, 0, height / 2), (0.03, 0.012, height * 0.6), OTHER, item.parts[0].material)
    return item


def dish(rng: Rng, style: Style) -> Furniture:
    """A plate, or a bowl with fruit."""
    radius = rng.uniform(0.16, 0.28)
    item = _boxed(CYLINDER, (radius, radius, rng.uniform(0.015, 0.06)), style.thing(rng))
    for _ in range(rng.integers(0, 5)):
        x, y = rng.uniform(-0.3, 0.3, 2) * radius
        size = rng.uniform(0.06, 0.09)
        item.add(ELLIPSOID, (x, y, item.size[2] + size * 0.4), (size,) * 3, OTHER, style.thing(rng))
    return item


def papers(rng: Rng, style: Style) -> Furniture:
    """Sheets that lie across each other."""
    item = Furniture(size=(0.32, 0.34, 0.02))
    for layer in range(rng.integers(1, 5)):
        x, y = rng.uniform(-0.04, 0.04, 2)
        page = style.page(rng, 0.21, 0.297)
        item.add(BOX, (x, y, 0.003 + layer * 0.005), (0.21, 0.297, 0.004), OTHER, page, rng.uniform(-0.5, 0.5))
    return item


def books(rng: Rng, style: Style) -> Furniture:
    """A row of standing books or a pile of lying ones."""
    item = Furniture()
    if rng.random() < 0.5:
        x = 0.0
        for _ in range(rng.integers(3, 9)):
            thick, depth, height = rng.uniform(0.015, 0.05), rng.uniform(0.13, 0.2), rng.uniform(0.17, 0.28)
            item.add(BOX, (x + thick / 2, 0, height / 2), (thick - 0.002, depth, height), OTHER, style.book(rng))
            x += thick
        return Furniture(item.moved(-x / 2, 0, 0, 0).parts, (x, 0.2, 0.28))
    z = 0.0
    for _ in range(rng.integers(2, 8)):
        thick = rng.uniform(0.012, 0.045)
        size = rng.uniform(0.15, 0.24), rng.uniform(0.2, 0.3), thick
        item.add(BOX, (0, 0, z + thick / 2), size, OTHER, style.book(rng), rng.uniform(-0.3, 0.3))
        z += thick
    item.size = (0.3, 0.34, z)
    return item


def laptop(rng: Rng, style: Style) -> Furniture:
    """An open laptop."""
    width, depth = rng.uniform(0.3, 0.38), rng.uniform(0.21, 0.25)
    look = style.dark if rng.random() < 0.5 else style.paint(rng)
    item = _boxed(BOX, (width, depth, 0.018), look)
    item.add(BOX, (0, 0.02, 0.02), (width - 0.04, depth * 0.5, 0.006), OTHER, style.page(rng, width, depth * 0.5))
    item.add(BOX, (0, -depth / 2, depth / 2), (width, 0.012, depth), OTHER, look)
    glass = width - 0.02, depth - 0.03
    item.add(BOX, (0, -depth / 2 + 0.007, depth / 2), (glass[0], 0.004, glass[1]), OTHER, style.screen(rng, *glass))
    return item


def gadget(rng: Rng, style: Style) -> Furniture:
    """A printer, radio or kitchen machine: a body with a front plate and knobs."""
    width, depth, height = rng.uniform(0.2, 0.45), rng.uniform(0.15, 0.32), rng.uniform(0.12, 0.32)
    item = _boxed(BOX, (width, depth, height), style.paint(rng) if rng.random() < 0.6 else style.dark)
    front = style.thing(rng) if rng.random() < 0.5 else style.dark
    item.add(BOX, (-width * 0.1, depth / 2, height / 2), (width * 0.7, 0.012, height * 0.7), OTHER, front)
    for row in range(rng.integers(1, 4)):
        item.add(
            ELLIPSOID, (width * 0.38, depth / 2, height * (0.25 + 0.25 * row)), (0.03,) * 3, OTHER, style.thing(rng)
        )
    return item


def bag(rng: Rng, style: Style) -> Furniture:
    """A backpack or a soft bag."""
    width, depth, height, cloth = (
        rng.uniform(0.26, 0.42),
        rng.uniform(0.15, 0.25),
        rng.uniform(0.28, 0.5),
        style.fabric(rng),
    )
    item = Furniture(size=(width, depth, height))
    item.add(ELLIPSOID, (0, 0, height * 0.45), (width, depth, height), OTHER, cloth)
    item.add(BOX, (0, 0, height * 0.25), (width * 0.8, depth * 0.75, height * 0.5), OTHER, cloth)
    item.add(
        ELLIPSOID, (0, depth * 0.4, height * 0.3), (width * 0.6, depth * 0.5, height * 0.4), OTHER, style.fabric(rng)
    )
    for x in (-0.2, 0.2):
        item.add(BOX, (x * width, -depth * 0.3, height * 0.6), (0.04, 0.03, height * 0.7), OTHER, style.dark)
    return item


def bin_(rng: Rng, style: Style) -> Furniture:
    """A waste bin or a basket."""
    width, height = rng.uniform(0.2, 0.38), rng.uniform(0.25, 0.6)
    item = _boxed(CYLINDER if rng.random() < 0.6 else BOX, (width, width, height), style.thing(rng))
    item.add(CYLINDER, (0, 0, height), (width * 0.8, width * 0.8, 0.012), OTHER, style.dark)
    return item


def crate(rng: Rng, style: Style) -> Furniture:
    """A large cardboard or wooden box, sometimes two."""
    size = rng.uniform(0.25, 0.5, 3)
    item = _boxed(BOX, size, style.wood(rng) if rng.random() < 0.5 else style.picture(rng, size[0], size[2]))
    item.add(BOX, (0, 0, size[2]), (0.05, size[1] + 0.004, 0.006), OTHER, style.thing(rng))
    if rng.random() < 0.4:
        small = size * rng.uniform(0.5, 0.8)
        look = style.picture(rng, small[0], small[2])
        item.add(BOX, (0, 0, size[2] + small[2] / 2), small, OTHER, look, rng.uniform(-0.4, 0.4))
        item.size = (size[0], size[1], size[2] + small[2])
    return item


def shoes(rng: Rng, style: Style) -> Furniture:
    """A pair of shoes."""
    item, look = Furniture(size=(0.26, 0.3, 0.12)), style.fabric(rng)
    for x in (-0.07, 0.07):
        turn = rng.uniform(-0.3, 0.3)
        item.add(ELLIPSOID, (x, 0, 0.045), (0.1, 0.28, 0.09), OTHER, look, turn)
        item.add(ELLIPSOID, (x, -0.06, 0.08), (0.09, 0.14, 0.1), OTHER, look, turn)
    return item


def cable(rng: Rng, style: Style) -> Furniture:
    """A cable that winds over the floor or a desk."""
    item, heading, x, y = Furniture(size=(0.3, 0.3, 0.012)), rng.uniform(0, 2 * math.pi), 0.0, 0.0
    look = style.dark if rng.random() < 0.6 else style.white
    for _ in range(rng.integers(4, 10)):
        length = rng.uniform(0.06, 0.16)
        dx, dy = length * math.cos(heading), length * math.sin(heading)
        item.add(BOX, (x + dx / 2, y + dy / 2, 0.005), (length + 0.006, 0.009, 0.01), OTHER, look, heading)
        x, y, heading = x + dx, y + dy, heading + rng.normal() * 0.6
    return item


def swivel_chair(rng: Rng, style: Style) -> Furniture:
    """An office chair on a column."""
    item = chair(rng, style)
    seat = max(part.center[2] for part in item.parts[4:5])
    kept = [part for part in item.parts if part.center[2] > seat - 0.05]
    base = Furniture(kept, item.size)
    base.add(CYLINDER, (0, 0, seat / 2), (0.06, 0.06, seat), kept[0].label, style.dark)
    for turn in range(3):
        base.add(BOX, (0, 0, 0.06), (0.55, 0.05, 0.05), kept[0].label, style.dark, turn * math.pi / 3)
    return base


def kitchen(rng: Rng, style: Style) -> Furniture:
    """Base units with a worktop, sink, hob and oven, tiles behind them and cupboards above."""
    units, unit, depth, height = int(rng.integers(3, 6)), 0.6, 0.6, 0.9
    width = units * unit
    body, top = style.paint(rng) if rng.random() < 0.6 else style.wood(rng), style.table
    item = Furniture(size=(width, depth, 2.15))
    item.add(BOX, (0, 0, 0.48), (width, depth - 0.02, 0.78), OTHER, body)
    item.add(BOX, (0, -0.03, 0.05), (width, depth - 0.1, 0.1), OTHER, style.dark)
    item.add(BOX, (0, 0.005, height - 0.02), (width + 0.01, depth + 0.01, 0.04), TABLE, top)
    tiles = make(rng, "tiles", style.white.colors, rng.uniform(0.4, 0.8), gloss=0.2)
    item.add(BOX, (0, -depth / 2 + 0.005, 1.17), (width, 0.01, 0.55), OTHER, tiles)
    order = rng.permutation(units)
    for k in range(units):
        x = -width / 2 + (k + 0.5) * unit
        oven = k == order[0]
        item.add(BOX, (x, depth / 2, 0.48), (unit - 0.012, 0.02, 0.74), OTHER, style.dark if oven else body)
        item.add(
            BOX, (x, depth / 2 + 0.025, 0.8), (unit * 0.5, 0.02, 0.015), OTHER, style.white if oven else style.dark
        )
        if oven:
            item.add(BOX, (x, 0, height + 0.004), (0.56, 0.5, 0.008), OTHER, style.dark)
            for dx in (-0.14, 0.14):
                for dy in (-0.12, 0.12):
                    item.add(CYLINDER, (x + dx, dy, height + 0.01), (0.17, 0.17, 0.006), OTHER, style.thing(rng))
        elif k == order[1]:
            item.add(BOX, (x, 0, height + 0.004), (0.5, 0.42, 0.008), OTHER, style.paint(rng))
            item.add(BOX, (x, 0, height + 0.007), (0.4, 0.34, 0.008), OTHER, style.dark)
            item.add(CYLINDER, (x, -0.22, height + 0.14), (0.03, 0.03, 0.28), OTHER, style.white)
            item.add(BOX, (x, -0.13, height + 0.27), (0.025, 0.2, 0.025), OTHER, style.white)
        if rng.random() < 0.85:
            item.add(BOX, (x, -0.12, 1.8), (unit - 0.008, 0.34, 0.7), OTHER, body)
            item.add(BOX, (x + 0.2, 0.06, 1.52), (0.015, 0.02, 0.12), OTHER, style.dark)
    return item


def fridge(rng: Rng, style: Style) -> Furniture:
    """A refrigerator with two doors, often with papers on it."""
    width, height = rng.uniform(0.55, 0.75), rng.uniform(1.5, 1.9)
    item = _boxed(BOX, (width, 0.6, height), style.white if rng.random() < 0.6 else style.paint(rng))
    look, split = item.parts[0].material, height * rng.uniform(0.3, 0.7)
    for low, high in ((0.06, split), (split + 0.01, height)):
        item.add(BOX, (0, 0.31, (low + high) / 2), (width - 0.01, 0.03, high - low - 0.01), OTHER, look)
        item.add(BOX, (width * 0.38, 0.345, (low + high) / 2), (0.025, 0.04, 0.3), OTHER, style.dark)
    for _ in range(rng.integers(0, 5)):
        x, z = rng.uniform(-0.3, 0.2) * width, rng.uniform(0.6, 0.9) * height
        item.add(BOX, (x, 0.327, z), (0.15, 0.004, 0.2), OTHER, style.page(rng, 0.15, 0.2))
    return item


def rack(rng: Rng, style: Style) -> Furniture:
    """An open shelf with four posts."""
    width, depth, height = rng.uniform(0.7, 1.4), rng.uniform(0.35, 0.5), rng.uniform(1.2, 2.0)
    item = Furniture(size=(width, depth, height))
    for x in (-1, 1):
        for y in (-1, 1):
            center = x * (width / 2 - 0.015), y * (depth / 2 - 0.015), height / 2
            item.add(BOX, center, (0.03, 0.03, height), OTHER, style.dark)
    boards = int(rng.integers(3, 6))
    for k in range(boards):
        item.add(BOX, (0, 0, 0.15 + k * (height - 0.25) / (boards - 1)), (width, depth, 0.025), OTHER, style.table)
    return item


def radiator(rng: Rng, style: Style) -> Furniture:
    """A ribbed radiator with its pipe."""
    width, height = rng.uniform(0.6, 1.3), rng.uniform(0.45, 0.65)
    item = Furniture(size=(width, 0.12, height + 0.12))
    item.add(BOX, (0, -0.02, 0.12 + height / 2), (width, 0.05, height), OTHER, style.white)
    for k in range(int(width / 0.07)):
        x = -width / 2 + 0.035 + k * 0.07
        item.add(BOX, (x, 0.02, 0.12 + height / 2), (0.045, 0.06, height - 0.04), OTHER, style.white)
    item.add(CYLINDER, (width / 2 + 0.04, 0, 0.1), (0.025, 0.025, 0.2), OTHER, style.dark)
    return item


def pipe(rng: Rng, style: Style, height: float) -> Furniture:
    """One to three pipes from the floor to the ceiling."""
    count = int(rng.integers(1, 4))
    item = Furniture(size=(0.09 * count, 0.08, height))
    look = style.white if rng.random() < 0.5 else style.paint(rng)
    for k in range(count):
        radius = rng.uniform(0.025, 0.06)
        item.add(CYLINDER, ((k - (count - 1) / 2) * 0.09, 0, height / 2), (radius, radius, height), OTHER, look)
    return item


def duct(rng: Rng, style: Style) -> Furniture:
    """A cable duct along the wall with a socket and a cable that hangs from it; its middle is at height 0."""
    width = rng.uniform(0.5, 1.8)
    item = Furniture(size=(width, 0.03, 0.1))
    item.add(BOX, (0, 0, 0), (width, 0.025, rng.uniform(0.02, 0.06)), OTHER, style.white)
    item.add(BOX, (rng.uniform(-0.4, 0.4) * width, 0, 0), (0.16, 0.035, 0.08), OTHER, style.white)
    return item


def switch(rng: Rng, style: Style) -> Furniture:
    """A light switch or a thermostat; its middle is at height 0."""
    size = rng.uniform(0.07, 0.14)
    item = Furniture(size=(size, 0.03, size))
    item.add(BOX, (0, 0, 0), (size, 0.02, size), OTHER, style.white)
    item.add(
        BOX, (0, 0.012, 0), (size * 0.6, 0.012, size * 0.6), OTHER, style.white if rng.random() < 0.5 else style.dark
    )
    return item


def notice_board(rng: Rng, style: Style) -> Furniture:
    """A board with papers and small pictures; its middle is at height 0."""
    width, height = rng.uniform(0.7, 1.5), rng.uniform(0.5, 0.9)
    item = Furniture(size=(width, 0.04, height))
    item.add(BOX, (0, 0, 0), (width, 0.025, height), OTHER, style.white if rng.random() < 0.5 else style.fabric(rng))
    for _ in range(rng.integers(3, 10)):
        w, h = rng.uniform(0.08, 0.25), rng.uniform(0.1, 0.3)
        x, z = rng.uniform(-0.5, 0.5) * (width - w), rng.uniform(-0.5, 0.5) * (height - h)
        look = style.page(rng, w, h) if rng.random() < 0.6 else style.picture(rng, w, h)
        item.add(BOX, (x, 0.013 + 0.002 * rng.random(), z), (w, 0.004, h), OTHER, look)
    return item


def coats(rng: Rng, style: Style) -> Furniture:
    """Hooks with clothes; its middle is at height 0."""
    count = int(rng.integers(2, 5))
    item = Furniture(size=(0.3 * count, 0.2, 1.0))
    item.add(BOX, (0, -0.08, 0.45), (0.3 * count, 0.025, 0.1), OTHER, style.frame)
    for k in range(count):
        x, drop, cloth = (k - (count - 1) / 2) * 0.28, rng.uniform(0.5, 0.9), style.fabric(rng)
        size = rng.uniform(0.22, 0.34), rng.uniform(0.1, 0.18), drop
        item.add(ELLIPSOID if rng.random() < 0.5 else CYLINDER, (x, 0, 0.45 - drop / 2), size, OTHER, cloth)
    return item


SMALL = (carton, carton, bottle, bottle, cup, cup, dish, papers, books, books, laptop, gadget, cable)
"""Things on tables and boards."""
LARGE = (bag, bag, bin_, crate, crate, shoes, books, papers, cable, cable, carton, gadget)
"""Things on the floor."""
STANDING = {
    "bedroom": (cabinet, rack, bag),
    "living": (rack, cabinet, crate),
    "dining": (kitchen, fridge, rack),
    "office": (rack, rack, cabinet, swivel_chair),
    "studio": (kitchen, fridge, rack),
}
"""More furniture at the walls, for each kind of room."""
