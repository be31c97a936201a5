"""A street or a square as one photographs it: façades, towers or a castle under a sky, with trees, cars and people.

Frame: z up, metres, ground at z = 0; the front that is looked at runs along x at about y = 0, and the camera stands at
y < 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from common.rooms.camera_path import Rng, Tilt
from common.rooms.furnishing.furniture import Furniture, Part
from common.rooms.layout import assemble
from common.rooms.primitives import BOX, FLOOR, OTHER, SHELL, WALL, Lights, Room
from common.rooms.raycast import Hits
from common.rooms.worlds import street_things as things
from common.rooms.worlds.buildings import castle, church, house, tower
from common.rooms.worlds.outdoor_materials import lawn, paving, sky
from common.rooms.worlds.wandering import Manner, wander

_MANNER = Manner(clearance=0.4, climb=0.06, panning=0.3, pitch_noise=0.08)
_CANDIDATES = 96
_NEAREST, _FARTHEST = 4.0, 25.0
"""Metres from the camera to the front."""


def build_street(seed: int) -> Room:
    """The street of a seed, on the CPU. Same seed, same street, on any machine."""
    rng = np.random.default_rng([29, seed])
    site: list[Part] = []
    ground = lawn(rng) if rng.random() < 0.35 else paving(rng)
    _pavements(site, rng)
    _fronts(site, rng)
    _surroundings(site, rng)
    _things(site, rng)
    size = (rng.uniform(240, 320), rng.uniform(240, 320), rng.uniform(70, 110))
    above = sky(rng, 250)
    lights = _sun(rng)
    labels = (OTHER, OTHER, OTHER, OTHER, FLOOR, OTHER)
    return assemble(site, size, [above] * 4 + [ground, above], lights, labels, sky=True)


def walk(
    scene: Room, rng: Rng, frames: int, step: tuple[float, float], turn: tuple[float, float], tilt: Tilt | None = None
) -> Tensor:
    """A path (frames, 4, 4) before the front, camera to world; arguments as in `wandering.wander`."""
    table = scene.primitives
    label = scene.surfaces.label[table.surface]
    walls = table.center[(label == WALL) & (table.kind != SHELL)].numpy(force=True)
    front = walls[(np.abs(walls[:, 1]) < 3) & (np.abs(walls[:, 0]) < 16)]

    def draw(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        target = front[rng.integers(len(front), size=_CANDIDATES)] * (1, 1, 0.65)
        away = np.exp(rng.uniform(math.log(_NEAREST), math.log(_FARTHEST), _CANDIDATES))
        height = np.where(rng.random(_CANDIDATES) < 0.15, rng.uniform(2, 6), rng.uniform(1.3, 2.0, _CANDIDATES))
        along = target[:, 0] + rng.normal(0, 0.6, _CANDIDATES) * away
        return np.stack((along, -away, height), -1), target

    return wander(scene, rng, frames, step, turn, tilt, _MANNER, draw, lambda hits: _worth(hits, label))


def _worth(hits: Hits, label: Tensor) -> Tensor:
    """Much of the front, not all sky or ground, nothing right before the lens."""
    primitive, depth = hits.primitive.flatten(1), hits.depth.flatten(1)
    wall = ((label[primitive] == WALL) & (primitive > 0)).float().mean(1)
    thing = ((label[primitive] == OTHER) & (primitive > 0)).float().mean(1)
    order = primitive.sort(1).values
    kinds = (order.diff(dim=1) != 0).float().sum(1).div(40).clamp_max(1)
    near = (depth < 1.5).float().mean(1)
    empty = ((primitive == 0).float().mean(1) - 0.5).clamp_min(0)
    return wall.clamp_max(0.6) + 0.5 * thing.clamp_max(0.3) + 0.5 * kinds - near - empty


def _put(site: list[Part], item: Furniture, x: float, y: float, yaw: float, z: float = 0.0) -> None:
    site += item.moved(x, y, z, yaw).parts


def _pavements(site: list[Part], rng: Rng) -> None:
    """Strips of another ground along the front: a pavement, a road, beds."""
    item = Furniture()
    if rng.random() < 0.7:
        wide, high = rng.uniform(1.5, 4), rng.uniform(0.02, 0.16)
        item.add(BOX, (0, -wide / 2, high / 2), (120, wide, high), FLOOR, paving(rng))
    if rng.random() < 0.5:
        start, wide = rng.uniform(4, 8), rng.uniform(4, 9)
        item.add(BOX, (0, -start - wide / 2, 0.01), (120, wide, 0.02), FLOOR, paving(rng))
    for _ in range(rng.integers(0, 4)):
        center = rng.uniform(-14, 14), rng.uniform(-22, -3), 0.02
        look = lawn(rng) if rng.random() < 0.5 else paving(rng)
        item.add(BOX, center, (rng.uniform(2, 10), rng.uniform(1.5, 6), 0.06), FLOOR, look, rng.uniform(-0.3, 0.3))
    _put(site, item, 0, 0, 0)


def _fronts(site: list[Part], rng: Rng) -> None:
    """The front that is looked at: a castle, or a row of one to four buildings. Fronts look towards -y."""
    if rng.random() < 0.2:
        _put(site, castle(rng), rng.uniform(-3, 3), 0, math.pi + rng.normal() * 0.1)
        return
    makers: list[Callable[[Rng], Furniture]] = [house, church, tower]
    row = [makers[int(rng.choice(3, p=(0.75, 0.13, 0.12)))](rng) for _ in range(rng.integers(1, 5))]
    terrace, regular = rng.random() < 0.4, rng.random() < 0.6
    gaps = [0.0 if terrace else rng.uniform(0.5, 5) for _ in row]
    total = sum(item.size[0] for item in row) + sum(gaps[1:])
    x = -total / 2 + rng.uniform(-0.2, 0.2) * total
    for item, gap in zip(row, gaps, strict=True):
        back = rng.uniform(0, 0.3) if regular else rng.uniform(-1.5, 2.5)
        yaw = math.pi + (0.0 if terrace else rng.normal() * (0.02 if regular else 0.15))
        _put(site, item, x + item.size[0] / 2, back, yaw)
        x += item.size[0] + gap


def _surroundings(site: list[Part], rng: Rng) -> None:
    """Buildings at the sides and opposite, and trees and houses in the distance."""
    for side in (-1, 1):
        if rng.random() < 0.4:
            _put(site, house(rng), side * rng.uniform(15, 24), -rng.uniform(4, 18), side * math.pi / 2)
    if rng.random() < 0.5:
        for k in range(-1, 2):
            _put(site, house(rng), 15 * k + rng.uniform(-2, 2), -rng.uniform(30, 36), rng.normal() * 0.05)
    for _ in range(rng.integers(8, 20)):
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(36, 62)
        item = things.tree(rng) if rng.random() < 0.75 else tower(rng)
        _put(site, item, reach * math.cos(angle), reach * math.sin(angle) - 8, rng.uniform(0, 2 * math.pi))


def _things(site: list[Part], rng: Rng) -> None:
    """Trees, hedges, walls, lamps, cars and people between the camera and the front."""
    for make, most, near, far in (
        (things.tree, 4, -20, -2.5),
        (things.hedge, 4, -12, -0.8),
        (things.low_wall, 2, -12, -1.5),
        (things.street_lamp, 4, -16, -1.0),
        (things.car, 4, -14, -3.0),
        (things.person, 6, -16, -1.0),
        (things.planter, 5, -12, -0.7),
    ):
        for _ in range(rng.integers(0, most + 1)):
            yaw = math.pi * int(rng.integers(2)) + float(rng.normal()) * 0.1
            if make is things.person or rng.random() < 0.15:
                yaw = float(rng.uniform(0, 2 * math.pi))
            _put(site, make(rng), rng.uniform(-16, 16), rng.uniform(near, far), yaw)


def _sun(rng: Rng) -> Lights:
    """A far, strong light, mostly from the side of the camera, a weak one opposite, and the light of the sky."""
    azimuth = rng.uniform(-2.6, -0.5) if rng.random() < 0.75 else rng.uniform(0, 2 * math.pi)
    elevation, distance = math.radians(rng.uniform(25, 65)), 65.0
    level = math.cos(elevation)
    place = distance * np.array([level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)])
    warm = np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.65, 1)])
    strength = rng.uniform(0.2, 0.6) if rng.random() < 0.25 else rng.uniform(0.8, 1.8)  # clouds, or none
    sunlight = warm * strength * (0.6 + 0.35 * distance**2)
    ambient = np.array([rng.uniform(0.8, 1), rng.uniform(0.9, 1), 1.0]) * rng.uniform(0.3, 0.7)
    return Lights(
        position=torch.from_numpy(place[None].astype(np.float32)),
        color=torch.from_numpy(sunlight[None].astype(np.float32)),
        ambient=torch.from_numpy(ambient[None].astype(np.float32)),
    )
