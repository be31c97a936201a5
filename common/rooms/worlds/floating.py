"""Things that float at any distance: scenes whose depth shows in parallax alone.

Sizes, shapes and textures are drawn without regard to the distance, and nothing stands on a floor, so that a single
picture does not tell how far its contents are. The idea is that of FlyingThings3D (Mayer et al., CVPR 2016).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from common.rooms.camera_path import Rng, Tilt
from common.rooms.furnishing.furniture import Part
from common.rooms.layout import assemble
from common.rooms.looks.materials import Material, any_colors, make
from common.rooms.looks.textures import FAMILY
from common.rooms.primitives import BOX, CYLINDER, ELLIPSOID, OTHER, Lights, Primitives, Room
from common.rooms.raycast import Hits
from common.rooms.worlds.wandering import Manner, wander

_MANNER = Manner(clearance=0.12, climb=0.7, panning=0.25, pitch_noise=0.15)
_CANDIDATES = 64
_FULL = 0.14
"""Share of the shell's volume that may be filled, so that a camera finds its way."""


def build_objects(seed: int) -> Room:
    """The floating things of a seed, on the CPU. Same seed, same scene, on any machine."""
    rng = np.random.default_rng([23, seed])
    extent = _log_uniform(rng, 2, 12)
    x, y, z = (extent * rng.uniform(0.75, 1.3, 3)).tolist()
    size = (x, y, z)
    shell = [_material(rng, 0.3, 5.0) for _ in range(6)]
    parts: list[Part] = []
    filled, hollow = 0.0, 0.15 * extent + 0.15
    for _ in range(rng.integers(35, 71)):
        part = _thing(rng, size, hollow)
        volume = 8 * math.prod(part.half_size)
        if filled + volume < _FULL * math.prod(size):
            filled += volume
            parts.append(part)
    scene = assemble(parts, size, shell, _no_lights(), shell_labels=(OTHER,) * 6)
    scene.lights = _lights(rng, scene.primitives, np.array(size))
    return scene


def walk(
    scene: Room, rng: Rng, frames: int, step: tuple[float, float], turn: tuple[float, float], tilt: Tilt | None = None
) -> Tensor:
    """A path (frames, 4, 4) among the things, camera to world; arguments as in `wandering.wander`."""
    size, centers = np.array(scene.size), scene.primitives.center[1:].numpy(force=True)

    def draw(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        start = rng.normal(0, 0.09, (_CANDIDATES, 3)) * size + (0, 0, size[2] / 2)
        target = centers[rng.integers(len(centers), size=_CANDIDATES)]
        sight = target - start
        distance = np.linalg.norm(sight, axis=1, keepdims=True).clip(1e-3)
        # Near things are met on the way; what is looked at, and sets the step, lies farther off.
        return start, start + sight / distance * distance.clip(0.25 * size.min(), 0.6 * size.max())

    return wander(scene, rng, frames, step, turn, tilt, _MANNER, draw, _worth)


def _worth(hits: Hits) -> Tensor:
    """Many things, at many distances, none that fills the picture."""
    depth, primitive = hits.depth.flatten(1), hits.primitive.flatten(1)
    things = (primitive > 0).float().mean(1).clamp_max(0.7)
    spread = depth.log().std(1).clamp_max(0.7)
    order = primitive.sort(1).values
    kinds = (order.diff(dim=1) != 0).float().sum(1).div(15).clamp_max(1)
    largest = (primitive == primitive.mode(1, keepdim=True).values).float().mean(1)
    near = (depth < 0.25).float().mean(1)
    return (
        0.7 * things
        + 0.5 * spread
        + 0.6 * kinds
        - 0.8 * (largest - 0.35).clamp_min(0)
        - 0.8 * (near - 0.1).clamp_min(0)
    )


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _material(rng: Rng, finest: float, coarsest: float) -> Material:
    """Any pattern in any colours, at any scale between two periods in metres."""
    period = _log_uniform(rng, finest, coarsest)
    return make(
        rng, str(rng.choice(list(FAMILY))), any_colors(rng), period, rng.uniform(0, math.pi), rng.uniform(0, 0.3)
    )


def _thing(rng: Rng, size: tuple[float, float, float], hollow: float) -> Part:
    """A box, cylinder or ellipsoid of any size and shape, as likely near the middle as far from it."""
    largest = _log_uniform(rng, 0.08, min(1.5, 0.3 * min(size)))
    shape = np.exp(rng.uniform(math.log(0.3), 0, 3))
    if rng.random() < 0.2:  # a pole or a board
        shape[rng.integers(3)] = rng.uniform(0.04, 0.15)
    half = shape / shape.max() * largest / 2
    kind = int(rng.choice([BOX, CYLINDER, ELLIPSOID], p=(0.45, 0.25, 0.3)))
    if kind == CYLINDER:
        half[1] = half[0]
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    edge = np.min(np.array(size) / 2 / np.abs(direction).clip(1e-6))  # distance of the shell
    reach = _log_uniform(rng, hollow, max(edge, hollow * 1.01))
    if rng.random() < 0.9:
        reach = max(reach, hollow + float(half.max()))
    center = direction * reach + (0, 0, size[2] / 2)
    place = float(center[0]), float(center[1]), float(center[2])
    lengths = float(half[0]), float(half[1]), float(half[2])
    yaw = float(rng.uniform(0, 2 * math.pi))
    return Part(kind, place, lengths, OTHER, _material(rng, 0.08, 2.0), yaw)


def _no_lights() -> Lights:
    return Lights(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 3))


def _lights(rng: Rng, primitives: Primitives, size: np.ndarray) -> Lights:
    """Two or three point lights in free places, and the ambient light."""
    count = int(rng.integers(2, 4))
    places = torch.from_numpy((rng.uniform(-0.42, 0.42, (200, 3)) * size + (0, 0, size[2] / 2)).astype(np.float32))
    free = places[primitives.clearance(places) > 0.08][:count]
    strength = 1 + 0.04 * float(size.mean()) ** 2  # light falls off with the square of the distance
    color = np.stack([np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.65, 1.05)]) for _ in free])
    ambient = np.array([1.0, rng.uniform(0.9, 1.02), rng.uniform(0.85, 1.1)]) * rng.uniform(0.25, 0.6)
    return Lights(
        position=free,
        color=torch.from_numpy((color * strength).astype(np.float32)),
        ambient=torch.from_numpy(np.tile(ambient, (len(free), 1)).astype(np.float32)),
    )
