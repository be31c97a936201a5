"""Small things of rooms that are lived in, for crowded rooms. Same frame as `furniture`.

They stand with their lowest point at height 0 on whatever is below them.
"""

from __future__ import annotations

import math

from common.rooms.furnishing.furniture import Furniture, Rng
from common.rooms.looks.materials import Material, Style
from common.rooms.primitives import BOX, CYLINDER, ELLIPSOID, OTHER


def solid(kind: int, size, material: Material) -> Furniture:
    """An item of one primitive that stands on height 0; more can be added to it."""
    item = Furniture(size=(float(size[0]), float(size[1]), float(size[2])))
    item.add(kind, (0, 0, size[2] / 2), size, OTHER, material)
    return item


def carton(rng: Rng, style: Style) -> Furniture:
    """A printed box or carton."""
    width, depth, height = rng.uniform(0.06, 0.22), rng.uniform(0.04, 0.16), rng.uniform(0.04, 0.3)
    return solid(BOX, (width, depth, height), style.picture(rng, max(width, depth), height))


def bottle(rng: Rng, style: Style) -> Furniture:
    """A bottle with its neck, sometimes with a label."""
    radius, height, look = rng.uniform(0.055, 0.09), rng.uniform(0.14, 0.24), style.thing(rng)
    item = solid(CYLINDER, (radius, radius, height), look)
    item.add(CYLINDER, (0, 0, height + 0.035), (radius * 0.4, radius * 0.4, 0.07), OTHER, look)
    if rng.random() < 0.6:
        wide = radius + 0.003
        item.add(CYLINDER, (0, 0, height * 0.45), (wide, wide, height * 0.4), OTHER, style.picture(rng, 0.1, 0.1))
    return item


def cup(rng: Rng, style: Style) -> Furniture:
    """A cup with a handle, or a can."""
    radius, height = rng.uniform(0.06, 0.1), rng.uniform(0.08, 0.13)
    printed = rng.random() < 0.4
    item = solid(CYLINDER, (radius, radius, height), style.picture(rng, 0.1, height) if printed else style.thing(rng))
    if not printed:
        item.add(BOX, (radius / 2 + 0.015, 0, height / 2), (0.03, 0.012, height * 0.6), OTHER, item.parts[0].material)
    return item


def dish(rng: Rng, style: Style) -> Furniture:
    """A plate, or a bowl with fruit."""
    radius = rng.uniform(0.16, 0.28)
    item = solid(CYLINDER, (radius, radius, rng.uniform(0.015, 0.06)), style.thing(rng))
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
    item = solid(BOX, (width, depth, 0.018), look)
    item.add(BOX, (0, 0.02, 0.02), (width - 0.04, depth * 0.5, 0.006), OTHER, style.page(rng, width, depth * 0.5))
    item.add(BOX, (0, -depth / 2, depth / 2), (width, 0.012, depth), OTHER, look)
    glass = width - 0.02, depth - 0.03
    item.add(BOX, (0, -depth / 2 + 0.007, depth / 2), (glass[0], 0.004, glass[1]), OTHER, style.screen(rng, *glass))
    return item


def gadget(rng: Rng, style: Style) -> Furniture:
    """A printer, radio or kitchen machine: a body with a front plate and knobs."""
    width, depth, height = rng.uniform(0.2, 0.45), rng.uniform(0.15, 0.32), rng.uniform(0.12, 0.32)
    item = solid(BOX, (width, depth, height), style.paint(rng) if rng.random() < 0.6 else style.dark)
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


def waste_bin(rng: Rng, style: Style) -> Furniture:
    """A waste bin or a basket."""
    width, height = rng.uniform(0.2, 0.38), rng.uniform(0.25, 0.6)
    item = solid(CYLINDER if rng.random() < 0.6 else BOX, (width, width, height), style.thing(rng))
    item.add(CYLINDER, (0, 0, height), (width * 0.8, width * 0.8, 0.012), OTHER, style.dark)
    return item


def crate(rng: Rng, style: Style) -> Furniture:
    """A large cardboard or wooden box, sometimes two."""
    size = rng.uniform(0.25, 0.5, 3)
    item = solid(BOX, size, style.wood(rng) if rng.random() < 0.5 else style.picture(rng, size[0], size[2]))
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


SMALL = (carton, carton, bottle, bottle, cup, cup, dish, papers, books, books, laptop, gadget, cable)
"""Things on tables and boards."""
LARGE = (bag, bag, waste_bin, crate, crate, shoes, books, papers, cable, cable, carton, gadget)
"""Things on the floor."""
