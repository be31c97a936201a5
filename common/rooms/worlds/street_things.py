"""Things that stand in a street: trees, hedges, low walls, lamps, cars, people. Same frame as `furniture`, metres."""

from __future__ import annotations

import math

from common.rooms.furnishing.furniture import Furniture, Rng
from common.rooms.looks.materials import hsv, make, wood_colors
from common.rooms.primitives import BOX, CYLINDER, ELLIPSOID, OTHER
from common.rooms.worlds.outdoor_materials import foliage, glass, masonry, paint, trim


def tree(rng: Rng) -> Furniture:
    """A trunk under a crown of leaves, round or pointed."""
    height, spread = rng.uniform(3, 11), rng.uniform(1.5, 5)
    trunk, bole = rng.uniform(0.15, 0.5), height * rng.uniform(0.2, 0.4)
    item = Furniture(size=(trunk + 0.6, trunk + 0.6, height))
    bark, hue = make(rng, "wood", wood_colors(rng), 0.8, math.pi / 2), rng.uniform(0.15, 0.36)
    item.add(CYLINDER, (0, 0, height * 0.35), (trunk, trunk, height * 0.7), OTHER, bark)
    if rng.random() < 0.25:
        for k in range(7):
            wide = spread * (1 - k / 8)
            z = bole + (height - bole) * (k + 0.5) / 7
            item.add(ELLIPSOID, (0, 0, z), (wide, wide, (height - bole) / 3.5), OTHER, foliage(rng, hue))
        return item
    for _ in range(rng.integers(8, 18)):
        angle, out = rng.uniform(0, 2 * math.pi), spread / 2 * math.sqrt(rng.uniform(0, 0.7))
        center = out * math.cos(angle), out * math.sin(angle), rng.uniform(bole + 0.15 * height, height * 0.95)
        size = rng.uniform(0.25, 0.6, 3) * spread * (1, 1, 0.8)
        item.add(ELLIPSOID, center, size, OTHER, foliage(rng, hue), rng.uniform(0, math.pi))
    return item


def hedge(rng: Rng) -> Furniture:
    """A clipped hedge or a row of bushes."""
    length, wide, height = rng.uniform(2, 9), rng.uniform(0.5, 1.1), rng.uniform(0.5, 1.8)
    item, hue = Furniture(size=(length, wide, height)), rng.uniform(0.2, 0.36)
    if rng.random() < 0.5:
        item.add(BOX, (0, 0, height / 2), (length, wide, height), OTHER, foliage(rng, hue))
        return item
    count = max(2, int(length / 0.8))
    for k in range(count):
        size = length / count * rng.uniform(1, 1.6), wide * rng.uniform(0.8, 1.4), height * rng.uniform(1, 1.6)
        item.add(ELLIPSOID, (length * ((k + 0.5) / count - 0.5), 0, height * 0.35), size, OTHER, foliage(rng, hue))
    return item


def low_wall(rng: Rng) -> Furniture:
    """A wall with a cap, or a fence of posts and rails."""
    length, height, look = rng.uniform(3, 12), rng.uniform(0.4, 1.2), trim(rng)
    item = Furniture(size=(length, 0.4, height))
    if rng.random() < 0.6:
        item.add(BOX, (0, 0, height / 2), (length, 0.3, height), OTHER, masonry(rng))
        item.add(BOX, (0, 0, height), (length + 0.1, 0.42, 0.1), OTHER, look)
        return item
    for k in range(int(length / 0.5)):
        item.add(BOX, (-length / 2 + 0.25 + 0.5 * k, 0, height / 2), (0.08, 0.08, height), OTHER, look)
    for share in (0.35, 0.9):
        item.add(BOX, (0, 0.03, height * share), (length, 0.04, 0.08), OTHER, look)
    return item


def street_lamp(rng: Rng) -> Furniture:
    """A lamp or a sign on a post."""
    height, thick, dark = rng.uniform(2.5, 5.5), rng.uniform(0.07, 0.16), paint(rng)
    item = Furniture(size=(0.5, 0.5, height))
    item.add(CYLINDER, (0, 0, height / 2), (thick, thick, height), OTHER, dark)
    item.add(CYLINDER, (0, 0, 0.25), (thick * 2.5, thick * 2.5, 0.5), OTHER, dark)
    if rng.random() < 0.6:
        item.add(ELLIPSOID, (0, 0, height), (0.45, 0.45, 0.5), OTHER, trim(rng))
    else:
        item.add(BOX, (0, 0.05, height - 0.3), (0.7, 0.04, 0.7), OTHER, paint(rng))
    return item


def car(rng: Rng) -> Furniture:
    """A parked car or van, along x."""
    length, wide, height = rng.uniform(3.6, 5), rng.uniform(1.6, 1.9), rng.uniform(1.35, 2.1)
    body, pane, tyre = paint(rng), glass(rng), make(rng, "plain", (hsv(0.6, 0.1, 0.15),) * 3, 1.0)
    item = Furniture(size=(length, wide, height))
    waist = min(0.9, height * 0.6)
    cabin = length * rng.uniform(0.45, 0.65) if height < 1.7 else length * 0.85
    item.add(BOX, (0, 0, (0.28 + waist) / 2), (length, wide, waist - 0.28), OTHER, body)
    back = -length * 0.06
    item.add(BOX, (back, 0, (waist + height) / 2 - 0.03), (cabin, wide * 0.9, height - waist - 0.06), OTHER, pane)
    item.add(BOX, (back, 0, height - 0.05), (cabin * 0.92, wide * 0.92, 0.1), OTHER, body)
    for x in (-0.31, 0.31):
        for side in (-1, 1):
            center = x * length, side * (wide / 2 - 0.08), 0.32
            item.add(ELLIPSOID, center, (0.64, 0.26, 0.64), OTHER, tyre)
    return item


def person(rng: Rng) -> Furniture:
    """Somebody who stands still."""
    height, wide = rng.uniform(1.5, 1.9), rng.uniform(0.38, 0.5)
    item = Furniture(size=(wide, wide, height))
    coat, trousers = paint(rng), paint(rng)
    skin = make(rng, "plain", [hsv(0.06, rng.uniform(0.3, 0.55), value) for value in (0.8, 0.7, 0.6)], 0.5)
    for side in (-1, 1):
        item.add(CYLINDER, (side * 0.1, 0, height * 0.24), (0.16, 0.18, height * 0.48), OTHER, trousers)
        item.add(CYLINDER, (side * wide * 0.55, 0, height * 0.62), (0.11, 0.13, height * 0.36), OTHER, coat)
    item.add(CYLINDER, (0, 0, height * 0.65), (wide, wide * 0.6, height * 0.36), OTHER, coat)
    item.add(ELLIPSOID, (0, 0, height * 0.92), (0.19, 0.22, 0.27), OTHER, skin)
    return item


def planter(rng: Rng) -> Furniture:
    """A tub with a bush, a bench, or a block."""
    size, kind = rng.uniform(0.4, 1.0), rng.integers(3)
    item = Furniture(size=(size, size, size))
    if kind == 0:
        item.add(CYLINDER if rng.random() < 0.5 else BOX, (0, 0, size / 3), (size, size, size / 1.5), OTHER, trim(rng))
        item.add(ELLIPSOID, (0, 0, size), (size * 1.2, size * 1.2, size * 1.2), OTHER, foliage(rng, 0.3))
    elif kind == 1:
        look = make(rng, "wood", wood_colors(rng), 0.8)
        item.add(BOX, (0, 0, 0.45), (1.6, 0.45, 0.07), OTHER, look)
        item.add(BOX, (0, -0.22, 0.75), (1.6, 0.06, 0.4), OTHER, look)
        for side in (-1, 1):
            item.add(BOX, (side * 0.65, 0, 0.22), (0.08, 0.4, 0.44), OTHER, paint(rng))
    else:
        item.add(BOX, (0, 0, size / 2), (size, size * rng.uniform(0.6, 1.4), size), OTHER, masonry(rng))
    return item
