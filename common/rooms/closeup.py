"""Hand-held paths close to things: a desk, a shelf or a bed fills the picture, as people film.

Walks (`camera_path`) show a room; with them alone a network takes every surface for one that is metres away.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from common.rooms.camera_path import Rng, clear_paths, look_along, wave
from common.rooms.primitives import Room
from common.rooms.raycast import RayGrid, cast

_CANDIDATES, _PROBE = 96, (12, 12)
_CLEARANCE = 0.12
"""Metres that the camera keeps from every surface; less than on walks, as a hand can reach anywhere."""
_DISTANCE = (0.45, 1.4)
"""Metres from the camera to the thing it looks at: range over paths, evenly in the logarithm."""
_ELEVATION = (-5.0, 65.0)
"""Degrees by which the camera looks down at the thing: range over paths."""
_SMALL = 2.0
"""Metres: what is longer or higher is a wall or a beam and no thing to look at."""


def orbit_thing(
    scene: Room, rng: Rng, frames: int, step: tuple[float, float], turn: tuple[float, float], lean: float = 0.0
) -> Tensor | None:
    """A path (frames, 4, 4), camera to world, around a thing of the room.

    Args:
        scene: the room.
        rng: where all random numbers come from.
        frames: poses of the path.
        step: range of metres from frame to frame at 2 m from what is seen; nearer, steps are as much shorter.
        turn: range of degrees of pan from frame to frame; a third of it, as the camera keeps to the thing.
        lean: deviation over paths of the turn about the line of sight, radians.

    Returns:
        The path that sees most of near things, or None where every candidate meets a solid.
    """
    count, cycles = _CANDIDATES, max(1.0, frames / 14)
    half = scene.primitives.half_size.numpy(force=True)
    things = np.flatnonzero((half.max(1) < _SMALL / 2) & (half.max(1) > 0.05))
    things = things[things > 0]
    if len(things) == 0:
        return None
    target = scene.primitives.center.numpy(force=True)[rng.choice(things, count)][:, None]
    nearest, farthest = _DISTANCE
    distance = nearest * (farthest / nearest) ** rng.random((count, 1))
    distance = distance * np.exp(0.08 * wave(rng, count, frames, cycles))
    arc = rng.uniform(*step, (count, 1)) / 2.0  # radians: a step at 2 m
    around = rng.uniform(0, 2 * math.pi, (count, 1)) + rng.choice([-1, 1], (count, 1)) * arc * np.arange(frames)
    above = np.radians(rng.uniform(*_ELEVATION, (count, 1))) + 0.5 * arc * wave(rng, count, frames, cycles)
    outward = np.stack((np.cos(above) * np.cos(around), np.cos(above) * np.sin(around), np.sin(above)), -1)
    position = target + distance[..., None] * outward + rng.normal(0, 0.003, (count, frames, 3))
    pan = np.radians(rng.uniform(*turn, (count, 1))) / 3 * (np.arange(frames) - frames / 2)
    yaw = around + math.pi + rng.choice([-1, 1], (count, 1)) * pan + rng.normal(0, 0.15, (count, 1))
    pitch = -above + 0.05 * wave(rng, count, frames, cycles) + rng.normal(0, 0.12, (count, 1))
    roll = 0.035 * wave(rng, count, frames, cycles) + rng.normal(0, lean, (count, 1))

    chosen = clear_paths(scene, position, _CLEARANCE)
    if len(chosen) == 0:
        return None
    poses = look_along(position[chosen], yaw[chosen], pitch[chosen], roll[chosen])
    return poses[int(_worth(scene, poses.to(scene.primitives.center.device)).argmax())]


def _worth(scene: Room, poses: Tensor) -> Tensor:
    """Score (C,) of paths (C, frames, 4, 4): many things at different depths, none right before the lens."""
    height, width = _PROBE
    intrinsics = torch.tensor([[width * 1.0, 0, width / 2 - 0.5], [0, width * 1.0, height / 2 - 0.5], [0, 0, 1]])
    flat = poses.flatten(0, 1)
    hits = cast(scene.primitives, RayGrid.from_cameras(flat, intrinsics.to(flat).expand(len(flat), 3, 3), _PROBE))
    depth, thing = hits.depth.flatten(1), (hits.primitive > 0).flatten(1).float()
    before_the_lens = (depth < 0.2).float().mean(1)
    different = 1 + (hits.primitive.flatten(1).sort(1).values.diff(dim=1) != 0).sum(1).float()
    frame = thing.mean(1) + 0.05 * different.clamp_max(12) - 2 * before_the_lens
    return frame.view(poses.shape[:2]).mean(1)
