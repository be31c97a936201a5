"""Small things all over a finished room: on tables, boards, cabinets, beds and the floor."""

from __future__ import annotations

import math

import numpy as np

from common.rooms.furnishing.furniture import Furniture, Part, Rng
from common.rooms.furnishing.household import LARGE, SMALL
from common.rooms.looks.materials import Style
from common.rooms.primitives import BED, BOX, OTHER, SOFA, TABLE

_DENSITY = {TABLE: 14.0, OTHER: 14.0, BED: 1.2, SOFA: 1.2}
"""Things per square metre of a surface with each label."""
_FLOOR_DENSITY = 1.1
_MOST = 12
"""Things on one surface."""


def scatter(parts: list[Part], size: tuple[float, float, float], rng: Rng, style: Style, amount: float) -> list[Part]:
    """Parts of things that stand on the given parts of a room and on its floor, clear of everything else.

    amount: 0 to 1. size: extent of the room, metres.
    """
    space = _Space(parts, size)
    for part in [part for part in parts if _carries(part)]:
        _cover(space, part, rng, style, amount)
    for _ in range(round(amount * _FLOOR_DENSITY * size[0] * size[1])):
        x, y = rng.uniform(-0.5, 0.5, 2) * size[:2]
        space.put(_one_of(LARGE, rng, style), x, y, 0.0, rng.uniform(0, 2 * math.pi))
    return space.added


def _one_of(makers, rng: Rng, style: Style) -> Furniture:
    return makers[rng.integers(len(makers))](rng, style)


def _carries(part: Part) -> bool:
    """True for parts on which things can lie: flat tops of boxes at a height that people use."""
    wide = part.half_size[0] > 0.12 and part.half_size[1] > 0.09
    top = part.center[2] + part.half_size[2]
    return part.kind == BOX and wide and 0.1 < top < 2.2 and part.label in _DENSITY and part.material.emission == 0


def _cover(space: _Space, part: Part, rng: Rng, style: Style, amount: float) -> None:
    area = 4 * part.half_size[0] * part.half_size[1]
    count = min(rng.poisson(amount * area * _DENSITY[part.label]), _MOST)
    cos, sin = math.cos(part.yaw), math.sin(part.yaw)
    for _ in range(count):
        item = _one_of(SMALL, rng, style)
        room = [max(part.half_size[axis] - item.size[axis] / 2, 0.0) for axis in (0, 1)]
        u, v = rng.uniform(-1, 1) * room[0], rng.uniform(-1, 1) * room[1]
        turn = part.yaw + (rng.normal() * 0.25 if rng.random() < 0.7 else rng.uniform(0, 2 * math.pi))
        x, y = part.center[0] + cos * u - sin * v, part.center[1] + sin * u + cos * v
        space.put(item, x, y, part.center[2] + part.half_size[2], turn)


class _Space:
    """Upright boxes of all that stands in a room."""

    def __init__(self, parts: list[Part], size: tuple[float, float, float]) -> None:
        self.low, self.high = _bounds(parts)
        self.size = size
        self.added: list[Part] = []

    def put(self, item: Furniture, x: float, y: float, z: float, yaw: float) -> None:
        """Add an item unless it meets something or the walls."""
        parts = item.moved(x, y, z, yaw).parts
        low, high = _bounds(parts)
        first, last = low.min(0) + (0.005, 0.005, 0.015), high.max(0) - 0.005
        limit = np.array(self.size[:2]) / 2 - 0.01
        inside = (first[:2] > -limit).all() and (last[:2] < limit).all() and last[2] < self.size[2]
        if not inside or ((self.low < last) & (self.high > first)).all(1).any():
            return
        self.added += parts
        self.low, self.high = np.concatenate((self.low, low)), np.concatenate((self.high, high))


def _bounds(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corners (n, 3) of upright boxes around parts."""
    center = np.array([part.center for part in parts])
    half = np.array([part.half_size for part in parts])
    yaw = np.array([part.yaw for part in parts])
    cos, sin = np.abs(np.cos(yaw)), np.abs(np.sin(yaw))
    half = np.stack((cos * half[:, 0] + sin * half[:, 1], sin * half[:, 0] + cos * half[:, 1], half[:, 2]), 1)
    return center - half, center + half
