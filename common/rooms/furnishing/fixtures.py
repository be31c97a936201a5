"""Furniture and fixtures of rooms that are lived in, for crowded rooms. Same frame as `furniture`.

What hangs has its middle at height 0, the rest stands on the floor.
"""

from __future__ import annotations

import math

from common.rooms.furnishing.fittings import cabinet, picture, wall_board
from common.rooms.furnishing.furniture import Furniture, Rng, chair
from common.rooms.furnishing.household import bag, crate, solid
from common.rooms.looks.materials import Style, make
from common.rooms.primitives import BOX, CHAIR, CYLINDER, ELLIPSOID, OTHER, TABLE


def swivel_chair(rng: Rng, style: Style) -> Furniture:
    """An office chair on a column."""
    usual = chair(rng, style)
    seat = 0.45
    item = Furniture([part for part in usual.parts if part.center[2] > 0.4], usual.size)  # without its legs
    item.add(CYLINDER, (0, 0, seat / 2), (0.06, 0.06, seat), CHAIR, style.dark)
    for turn in range(3):
        item.add(BOX, (0, 0, 0.06), (0.55, 0.05, 0.05), CHAIR, style.dark, turn * math.pi / 3)
    return item


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
    item = solid(BOX, (width, 0.6, height), style.white if rng.random() < 0.6 else style.paint(rng))
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
    """A cable duct along the wall with a socket; its middle is at height 0."""
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


STANDING = {
    "bedroom": (cabinet, rack, bag),
    "living": (rack, cabinet, crate),
    "dining": (kitchen, fridge, rack),
    "office": (rack, rack, cabinet, swivel_chair),
    "studio": (kitchen, fridge, rack),
}
"""More furniture at the walls, for each kind of room."""
HUNG = (
    (notice_board, 1.3, 1.7, 2),
    (coats, 1.3, 1.5, 1),
    (switch, 1.1, 1.2, 3),
    (duct, 0.3, 1.1, 2),
    (wall_board, 1.3, 1.8, 3),
    (picture, 1.2, 1.9, 6),
)
"""Things on walls, the range of their heights, and how many of them there are at most."""
