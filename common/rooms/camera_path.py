"""Hand-held camera paths inside a room: smooth, clear of solids, and with something to look at.

Many candidate paths are drawn at once; those too close to a solid are rejected, and the rest are compared by casting
a few rays from each frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.rooms.primitives import Room
from common.rooms.raycast import RayGrid, cast

Rng = np.random.Generator

CLEARANCE = 0.25
"""Metres that a camera keeps from every surface."""

_CANDIDATES, _COMPARED, _PROBE = 64, 8, (12, 16)


@dataclass(frozen=True)
class Tilt:
    """Attitude of a camera; the defaults are those of a person who looks about a room."""

    pitch: tuple[float, float] = (-0.38, -0.02)
    """Range over paths of the angle above the horizon, radians."""
    roll: float = 0.035
    """Deviation of the turn about the line of sight within a path, radians."""
    lean: float = 0.0
    """Deviation of the same turn over paths, radians."""


def walk(
    scene: Room,
    rng: Rng,
    frames: int,
    step: tuple[float, float],
    turn: tuple[float, float],
    tilt: Tilt | None = None,
) -> Tensor:
    """A walk (frames, 4, 4), camera to world. Range of metres and of degrees between neighbouring frames."""
    for shrink in (1.0, 0.7, 0.4, 0.15, 0.0, 0.0, 0.0):
        position, yaw = _draw_walks(scene, rng, frames, step, turn, shrink)
        poses = _choose(scene, rng, position, yaw, tilt or Tilt())
        if poses is not None:
            return poses
    raise RuntimeError(
        f"no free place for a camera in this room; every candidate is closer than {CLEARANCE} m to something"
    )


def tour(scene: Room, rng: Rng, frames: int, step: float, turn: float) -> Tensor:
    """A long walk (frames, 4, 4) on rounds through the middle of the room, looking across it and slowly panning.

    step: metres, and turn: degrees, per frame. 360 / turn frames show the whole room.
    """
    for shrink in (1.0, 0.8, 0.6, 0.4, 0.2, 0.05):
        position, yaw = _draw_rounds(scene, rng, frames, step, turn, shrink)
        poses = _choose(scene, rng, position, yaw, Tilt())
        if poses is not None:
            return poses
    return walk(scene, rng, frames, (0.0, step), (turn * 0.9, turn))


def wave(rng: Rng, count: int, frames: int, cycles: float) -> np.ndarray:
    """Smooth random signals (count, frames), deviation about 1, with at most `cycles` oscillations."""
    time = np.linspace(0, 1, frames)
    frequency = rng.uniform(0.2, 1, (count, 3, 1)) * cycles
    phase = rng.uniform(0, 2 * math.pi, (count, 3, 1))
    return (np.sin(2 * math.pi * frequency * time + phase) * math.sqrt(2 / 3)).sum(1)


def _eye_heights(scene: Room, rng: Rng, frames: int) -> np.ndarray:
    top = min(1.75, scene.size[2] - 0.5)
    height = rng.uniform(1.1, top, (_CANDIDATES, 1))
    return height + 0.06 * wave(rng, _CANDIDATES, frames, max(1.5, frames / 20))


def _draw_walks(scene: Room, rng: Rng, frames: int, step, turn, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """Candidate positions (C, frames, 3) and yaws (C, frames): half pan freely, half keep to a point of the room."""
    count, cycles = _CANDIDATES, max(1.0, frames / 14)
    heading = rng.uniform(0, 2 * math.pi, (count, 1)) + 0.7 * wave(rng, count, frames, cycles)
    length = (
        rng.uniform(step[0], step[1], (count, 1)) * (1 + 0.2 * wave(rng, count, frames, cycles)).clip(0.3, 1.7) * shrink
    )
    extent = np.array(scene.size[:2]) - 2 * CLEARANCE
    path = np.stack((length * np.cos(heading), length * np.sin(heading)), -1).cumsum(1)
    path += rng.uniform(-0.5, 0.5, (count, 1, 2)) * extent - path.mean(1, keepdims=True)
    position = np.concatenate((path, _eye_heights(scene, rng, frames)[..., None]), -1)

    rate = np.radians(rng.uniform(turn[0], turn[1], (count, 1))) * rng.choice([-1, 1], (count, 1))
    rate = rate * (1 + 0.25 * wave(rng, count, frames, cycles)).clip(0.2, 1.6)
    free = rng.uniform(0, 2 * math.pi, (count, 1)) + rate.cumsum(1)
    solids = scene.primitives.center[1:].numpy(force=True)
    target = solids[rng.integers(len(solids), size=count)][:, None] - position
    drift = rate.cumsum(1) - rate.sum(1, keepdims=True) / 2
    kept = np.unwrap(np.arctan2(target[..., 1], target[..., 0]), axis=1) + 0.7 * drift
    return position, np.where(rng.random((count, 1)) < 0.5, free, kept)


def _draw_rounds(scene: Room, rng: Rng, frames: int, step, turn, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """Candidate rounds: ellipses about a point near the middle of the room, with the view across the middle."""
    count, cycles = _CANDIDATES, max(1.0, frames / 40)
    sense = rng.choice([-1, 1], (count, 1))
    speed = (1 + 0.2 * wave(rng, count, frames, cycles)).clip(0.4, 1.6)
    angle = rng.uniform(0, 2 * math.pi, (count, 1)) + sense * np.radians(turn) * speed.cumsum(1)
    limit = np.array(scene.size[:2]) / 2 - CLEARANCE - 0.1
    radius = np.minimum(step / math.radians(turn) * rng.uniform(0.8, 1.2, (count, 2)), limit)[:, None] * shrink
    radius = radius * (1 + 0.15 * wave(rng, count, frames, cycles)).clip(0.5, 1.3)[..., None]
    middle = rng.uniform(-1, 1, (count, 1, 2)) * (limit - radius.max(1, keepdims=True)).clip(0)
    path = middle + radius * np.stack((np.cos(angle), np.sin(angle)), -1)
    position = np.concatenate((path, _eye_heights(scene, rng, frames)[..., None]), -1)
    return position, angle + math.pi + 0.35 * wave(rng, count, frames, frames / 40)


def _choose(scene: Room, rng: Rng, position: np.ndarray, yaw: np.ndarray, tilt: Tilt) -> Tensor | None:
    """The collision-free candidate with the most to see, as poses (frames, 4, 4); None if there is none."""
    device = scene.primitives.center.device
    count, frames = yaw.shape
    position = position + rng.normal(0, 0.004, position.shape)
    pitch = rng.uniform(*tilt.pitch, (count, 1)) + 0.06 * wave(rng, count, frames, max(1.5, frames / 20))
    roll = tilt.roll * wave(rng, count, frames, max(1.5, frames / 20))
    yaw, pitch, roll = (angle + rng.normal(0, 0.006, angle.shape) for angle in (yaw, pitch, roll))
    if tilt.lean:  # drawn last: paths without it stay as they are
        roll = roll + rng.normal(0, tilt.lean, (count, 1))
    chosen = clear_paths(scene, position, CLEARANCE)
    if len(chosen) == 0:
        return None
    poses = look_along(position[chosen], yaw[chosen], pitch[chosen], roll[chosen])
    worth = _worth(scene, poses[:, :: max(1, frames // 10)].to(device))
    return poses[int(worth.argmax())]


def clear_paths(scene: Room, position: np.ndarray, clearance: float) -> np.ndarray:
    """Numbers of the first few of C candidate paths (C, frames, 3) that keep a distance in metres from every solid."""
    place = torch.from_numpy(position.astype(np.float32)).to(scene.primitives.center.device)
    clear = (scene.primitives.clearance(place).amin(1) > clearance).cpu().numpy()
    return np.flatnonzero(clear)[:_COMPARED]


def look_along(position: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> Tensor:
    """Camera-to-world matrices (..., 4, 4) from positions (..., 3) and angles (...) in radians; pitch > 0 looks up."""
    forward = np.stack((np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)), -1)
    level = np.stack((np.sin(yaw), -np.cos(yaw), np.zeros_like(yaw)), -1)
    under = np.cross(forward, level)
    cos, sin = np.cos(roll)[..., None], np.sin(roll)[..., None]
    poses = np.zeros((*yaw.shape, 4, 4))
    poses[..., :3, 0], poses[..., :3, 1] = cos * level + sin * under, cos * under - sin * level
    poses[..., :3, 2], poses[..., :3, 3], poses[..., 3, 3] = forward, position, 1
    return torch.from_numpy(poses.astype(np.float32))


def _worth(scene: Room, poses: Tensor) -> Tensor:
    """Score (C,) of the visible content on paths (C, frames, 4, 4): furniture, at some distance, in every frame."""
    height, width = _PROBE
    intrinsics = torch.tensor([[width * 0.8, 0, width / 2 - 0.5], [0, width * 0.8, height / 2 - 0.5], [0, 0, 1]])
    flat = poses.flatten(0, 1)
    hits = cast(scene.primitives, RayGrid.from_cameras(flat, intrinsics.to(flat).expand(len(flat), 3, 3), _PROBE))
    depth, thing = hits.depth.flatten(1), (hits.primitive > 0).flatten(1).float()
    close = (depth < 0.8).float().mean(1)
    share = thing.mean(1).clamp_max(0.45)
    spread = depth.median(1).values.clamp_max(2.5) + 0.5 * depth.std(1).clamp_max(1)
    frame = 2 * share + 0.4 * spread - 2 * close
    frame = frame.view(poses.shape[:2])
    return frame.mean(1) + 0.7 * frame.amin(1)
