"""The seeded room: its size, its style, what stands where, and the lights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from common.rooms.furnishing import fittings, fixtures, furniture
from common.rooms.furnishing.crowding import scatter
from common.rooms.furnishing.furniture import Furniture, Part, Rng
from common.rooms.looks.materials import (
    Material,
    Style,
    ceiling_material,
    floor_material,
    wall_material,
)
from common.rooms.looks.textures import turn_of
from common.rooms.primitives import BOX, CEILING, FLOOR, OTHER, SHELL, WALL, Lights, Primitives, Room, Surfaces

_KINDS: dict[str, tuple[tuple[Callable, ...], tuple[Callable, ...]]] = {
    "bedroom": (
        (furniture.bed, fittings.cabinet, fittings.bedside, furniture.desk, fittings.bookcase, furniture.armchair),
        (furniture.chair, fittings.clutter),
    ),
    "living": (
        (furniture.sofa, fittings.television, fittings.bookcase, furniture.armchair, fittings.cabinet),
        (furniture.coffee_table, furniture.armchair),
    ),
    "dining": (
        (fittings.cabinet, fittings.bookcase, fittings.cabinet, furniture.sofa),
        (furniture.dining_group, furniture.chair),
    ),
    "office": (
        (furniture.desk, fittings.bookcase, fittings.cabinet, furniture.desk, furniture.sofa),
        (furniture.table, furniture.chair, furniture.chair),
    ),
    "studio": (
        (furniture.bed, furniture.sofa, furniture.desk, fittings.cabinet, fittings.bookcase, fittings.television),
        (furniture.dining_group, furniture.coffee_table, furniture.chair),
    ),
}
"""Pieces that stand at a wall and pieces that stand free, for each kind of room, the important ones first."""


@dataclass
class _Wall:
    """One side of the room: where it is, which way it faces and what hangs on it."""

    center: tuple[float, float]
    yaw: float
    length: float
    taken: list[tuple[float, float, float, float]]
    """Rectangles (along from, along to, bottom, top)."""

    def free(self, start: float, end: float, bottom: float, top: float) -> bool:
        return all(end < a or start > b or top < c or bottom > d for a, b, c, d in self.taken)

    def place(self, along: float, out: float) -> tuple[float, float]:
        """World x, y of a point on the wall, `out` metres in front of it."""
        cos, sin = turn_of(self.yaw)
        return self.center[0] + cos * along - sin * out, self.center[1] + sin * along + cos * out


class _Plan:
    """State of the layout while furniture is placed."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.kind = str(rng.choice(list(_KINDS)))
        low = 3.4 if self.kind == "studio" else 2.6
        self.size = rng.uniform(low, 6.6), rng.uniform(low, 6.6), rng.uniform(2.35, 3.2)
        self.style = Style(rng)
        self.parts: list[Part] = []
        self.lamps: list[tuple[tuple[float, float, float], float]] = []
        self.boxes: list[tuple[float, float, float, float]] = []
        """Footprints (x from, x to, y from, y to) on the floor."""
        x, y, _ = self.size
        self.walls = [
            _Wall((0, -y / 2), 0.0, x, []),
            _Wall((x / 2, 0), math.pi / 2, y, []),
            _Wall((0, y / 2), math.pi, x, []),
            _Wall((-x / 2, 0), -math.pi / 2, y, []),
        ]

    def put(self, item: Furniture, x: float, y: float, z: float, yaw: float, strength: float = 1.0) -> None:
        item = item.moved(x, y, z, yaw)
        self.parts += item.parts
        if item.lamp:
            self.lamps.append((item.lamp, strength))

    def footprint(self, item: Furniture, x: float, y: float, yaw: float, margin: float):
        """The upright rectangle around an item, or None where it meets another one or the walls."""
        cos, sin = abs(math.cos(yaw)), abs(math.sin(yaw))
        half_x = (cos * item.size[0] + sin * item.size[1]) / 2 + margin
        half_y = (sin * item.size[0] + cos * item.size[1]) / 2 + margin
        box = x - half_x, x + half_x, y - half_y, y + half_y
        if any(box[1] > o[0] and box[0] < o[1] and box[3] > o[2] and box[2] < o[3] for o in self.boxes):
            return None
        inside = abs(x) + half_x < self.size[0] / 2 + 0.05 and abs(y) + half_y < self.size[1] / 2 + 0.05
        return box if inside else None

    def at_wall(self, item: Furniture, gap: float = 0.02) -> bool:
        """Stand an item with its back to a wall."""
        for _ in range(25):
            wall = self.walls[self.rng.integers(4)]
            reach = wall.length / 2 - item.size[0] / 2 - 0.03
            if reach < 0:
                continue
            along = self.rng.uniform(-reach, reach)
            if self.rng.random() < 0.3:
                along = math.copysign(reach, along)
            span = along - item.size[0] / 2, along + item.size[0] / 2
            x, y = wall.place(along, item.size[1] / 2 + gap)
            box = self.footprint(item, x, y, wall.yaw, 0.01)
            if box is None or not wall.free(*span, 0, item.size[2]):
                continue
            wall.taken.append((*span, 0, item.size[2]))
            self.boxes.append(box)
            self.put(item, x, y, 0, wall.yaw, 0.6)
            return True
        return False

    def free_standing(self, item: Furniture) -> bool:
        """Stand an item somewhere on the floor."""
        for _ in range(25):
            x, y = (self.rng.uniform(-0.5, 0.5) * (extent - 0.6) for extent in self.size[:2])
            yaw = self.rng.integers(4) * math.pi / 2 + self.rng.normal() * 0.25
            box = self.footprint(item, x, y, yaw, 0.08)
            if box is not None:
                self.boxes.append(box)
                self.put(item, x, y, 0, yaw)
                return True
        return False

    def hang(self, item: Furniture, low: float, high: float, strength: float = 1.0, floor: bool = False) -> bool:
        """Hang an item on a wall with its origin between the heights low and high, or stand it on the floor."""
        width, depth, height = item.size
        for _ in range(20):
            wall = self.walls[self.rng.integers(4)]
            reach = wall.length / 2 - width / 2 - 0.05
            if reach < 0:
                continue
            along, z = self.rng.uniform(-reach, reach), self.rng.uniform(low, high)
            span = along - width / 2 - 0.04, along + width / 2 + 0.04
            bottom, top = (0, height) if floor else (z - height / 2 - 0.04, z + height / 2 + 0.04)
            if top > self.size[2] or not wall.free(*span, bottom, top):
                continue
            wall.taken.append((*span, bottom, top))
            x, y = wall.place(along, depth / 2)
            self.put(item, x, y, 0 if floor else z, wall.yaw, strength)
            if floor:
                front = [wall.place(along + side * width / 2, out) for side in (-1, 1) for out in (0, 0.8)]
                xs, ys = zip(*front, strict=True)
                self.boxes.append((min(xs), max(xs), min(ys), max(ys)))
            return True
        return False


def build_room(seed: int, clutter: float = 0.0) -> Room:
    """The room of a seed, on the CPU. Same seed, same room, on any machine.

    clutter: things and furniture on top of the usual ones, 0 to 1.
    """
    rng = np.random.default_rng([7, seed])
    room = _Plan(rng)
    walls = [wall_material(rng)] * 4
    if rng.random() < 0.4:
        walls[rng.integers(4)] = wall_material(rng)
    _structure(room, walls[0])
    room.hang(fittings.door(rng, room.style), 0, 0, floor=True)
    for _ in range(rng.integers(1, 3)):
        room.hang(fittings.window(rng, room.style), 1.4, 1.6, strength=1.6)
    if clutter > 0:
        _fit_out(room, clutter)
    _furnish(room)
    height = room.size[2]
    for _ in range(1 if max(room.size) < 5 else 2):
        x, y = (rng.uniform(-0.25, 0.25) * extent for extent in room.size[:2])
        room.put(fittings.ceiling_lamp(rng, room.style), x, y, height, 0, rng.uniform(0.8, 1.6))
    shell = [*walls, floor_material(rng), ceiling_material(rng)]
    if clutter > 0:
        room.parts += scatter(room.parts, room.size, rng, room.style, clutter)
    return assemble(room.parts, room.size, shell, _lights(room))


def _structure(room: _Plan, material: Material) -> None:
    """Skirting boards and sometimes a pillar or a chimney breast, which make the room less of a box."""
    rng, (size_x, size_y, height) = room.rng, room.size
    for wall in room.walls:
        x, y = wall.place(0, 0.008)
        board = Furniture()
        board.add(BOX, (0, 0, 0.04), (wall.length, 0.016, 0.08), WALL, room.style.white)
        room.put(board, x, y, 0, wall.yaw)
    if rng.random() < 0.35:
        pillar = Furniture(size=(rng.uniform(0.3, 1.1), rng.uniform(0.3, 0.6), height))
        pillar.add(BOX, (0, 0, height / 2), pillar.size, WALL, material)
        room.at_wall(pillar, gap=0)
    if rng.random() < 0.15:
        for k in range(3):
            beam = Furniture()
            beam.add(BOX, (0, (k - 1) * size_y / 3.5, height - 0.07), (size_x, 0.14, 0.14), CEILING, room.style.frame)
            room.put(beam, 0, 0, 0, 0)


def _furnish(room: _Plan) -> None:
    """Fill the room until about half of the floor is taken."""
    rng, style = room.rng, room.style
    at_wall, free = _KINDS[room.kind]
    area = room.size[0] * room.size[1]
    budget = rng.uniform(0.35, 0.55) * area

    def used() -> float:
        return sum((b[1] - b[0]) * (b[3] - b[2]) for b in room.boxes)

    room.at_wall(at_wall[0](rng, style))
    room.free_standing(free[0](rng, style))
    for make in at_wall[1:]:
        if used() < budget and rng.random() < 0.9:
            room.at_wall(make(rng, style))
    for make in (*free[1:], furniture.chair, fittings.clutter):
        if used() < budget and rng.random() < 0.7:
            room.free_standing(make(rng, style))
    for make in (fittings.floor_lamp, fittings.plant, fittings.clutter, fittings.plant):
        if rng.random() < 0.5:
            room.at_wall(make(rng, style), gap=0.05)
    if rng.random() < 0.6:
        x, y = (rng.uniform(-0.15, 0.15) * extent for extent in room.size[:2])
        room.put(fittings.rug(rng, style), x, y, 0, rng.integers(2) * math.pi / 2)
    for _ in range(rng.integers(4, 9)):
        room.hang(fittings.picture(rng, style), 1.3, 1.75)
    for make, low, high in ((fittings.wall_board, 1.3, 1.7), (fittings.clock, 1.7, 2.1)):
        if rng.random() < 0.6:
            room.hang(make(rng, style), low, high)


def _fit_out(room: _Plan, clutter: float) -> None:
    """Fixtures and furniture of crowded rooms, which the usual furniture then has to fit in with."""
    rng, style = room.rng, room.style
    for make in fixtures.STANDING[room.kind]:
        if rng.random() < 0.2 + 0.6 * clutter:
            room.at_wall(make(rng, style))
    for _ in range(rng.binomial(2, 0.6 * clutter)):
        room.at_wall(fixtures.radiator(rng, style))
    if rng.random() < 0.6 * clutter:
        room.at_wall(fixtures.pipe(rng, style, room.size[2]))
    for make, low, high, most in fixtures.HUNG:
        for _ in range(rng.binomial(most, 0.7 * clutter)):
            room.hang(make(rng, style), low, high)


def _floats(values: list) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))


def assemble(
    placed: list[Part],
    size: tuple[float, float, float],
    shell: list[Material],
    lights: Lights,
    shell_labels: tuple[int, ...] = (WALL, WALL, WALL, WALL, FLOOR, CEILING),
    sky: bool = False,
) -> Room:
    """Tensors of everything that was placed.

    Args:
        placed: all parts, in the frame of the room.
        size: extent of the shell along x, y, z in metres.
        shell: materials of the south, east, north and west walls, the floor and the ceiling.
        lights: where the light comes from.
        shell_labels: classes of the -x, +x, -y, +y walls, the floor and the ceiling.
        sky: see `Room.sky`.
    """
    south, east, north, west, floor, ceiling = shell
    middle, half = (0.0, 0.0, size[2] / 2), (size[0] / 2, size[1] / 2, size[2] / 2)
    parts = [Part(SHELL, middle, half, WALL, south), *placed]
    looks = [west, east, south, north, floor, ceiling, *(part.material for part in placed)]
    labels = [*shell_labels, *(part.label for part in placed)]
    primitives = Primitives(
        kind=torch.tensor([part.kind for part in parts]),
        center=_floats([part.center for part in parts]),
        half_size=_floats([part.half_size for part in parts]),
        turn=_floats([turn_of(part.yaw) for part in parts]),
        surface=torch.tensor([0, *range(6, len(looks))]),
        casts_shadow=torch.tensor([not (part.label == OTHER and part.material.emission > 0) for part in parts]),
    )
    surfaces = Surfaces(
        label=torch.tensor(labels),
        texture=torch.tensor([look.texture for look in looks]),
        frequency=_floats([[1 / period for period in look.period] for look in looks]),
        turn=_floats([turn_of(look.angle) for look in looks]),
        offset=_floats([look.offset for look in looks]),
        colors=_floats([look.colors for look in looks]),
        gloss=_floats([look.gloss for look in looks]),
        emission=_floats([look.emission for look in looks]),
    )
    return Room(primitives, surfaces, lights, size, sky)


def _lights(room: _Plan, limit: int = 3) -> Lights:
    """Point lights at the strongest lamps and windows, and the ambient light."""
    rng = room.rng
    lamps = sorted(room.lamps, key=lambda lamp: -lamp[1])[:limit]
    colors = [np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.65, 1.05)]) * strength for _, strength in lamps]
    ambient = np.array([1.0, rng.uniform(0.9, 1.02), rng.uniform(0.85, 1.1)]) * rng.uniform(0.12, 0.35)
    return Lights(
        position=_floats([position for position, _ in lamps]),
        color=_floats(colors),
        ambient=_floats([ambient] * len(lamps)),
    )
