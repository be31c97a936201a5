"""Camera paths in scenes of any size: steps in proportion to the distance of what is looked at, views that overlap.

Many candidates are drawn at once, each from a starting point and a target. Those too close to a solid are rejected, and
the rest are compared by casting a few rays from some frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.rooms.camera_path import Rng, Tilt, clear_paths, look_along, wave
from common.rooms.primitives import Room
from common.rooms.raycast import Hits, RayGrid, cast

STEP_DISTANCE = 2.5
"""Metres to the target at which the step is the given one."""

_PROBE = (12, 16)


@dataclass(frozen=True)
class Manner:
    """Manner of a camera's motion in a world."""

    clearance: float
    """Metres that it keeps from every surface."""
    climb: float
    """Largest share of a step that goes up or down."""
    panning: float
    """Share of paths that pan freely; the others keep to their target."""
    pitch_noise: float
    """Deviation over paths of the pitch about that of the target, radians."""


def wander(
    scene: Room,
    rng: Rng,
    frames: int,
    step: tuple[float, float],
    turn: tuple[float, float],
    tilt: Tilt | None,
    manner: Manner,
    draw: Callable[[Rng], tuple[np.ndarray, np.ndarray]],
    worth: Callable[[Hits], Tensor],
) -> Tensor:
    """A path (frames, 4, 4), camera to world.

    Args:
        scene: where to move.
        rng: decides the path.
        frames: length.
        step: range of metres between neighbouring frames, for a target `STEP_DISTANCE` away.
        turn: range of degrees of pan between neighbouring frames.
        tilt: how the camera is held; only its lean and its roll count.
        manner: how it moves.
        draw: starting points (C, 3) and targets (C, 3) of candidates, metres.
        worth: score (V,) of what V views see, about 0 to 1.

    Raises:
        RuntimeError: every candidate is too close to something.
    """
    for shrink in (1.0, 0.7, 0.4, 0.15, 0.0, 0.0, 0.0):
        position, yaw, pitch = _draw_paths(rng, frames, step, turn, shrink, manner, *draw(rng))
        poses = _choose(scene, rng, position, yaw, pitch, tilt or Tilt(), manner, worth)
        if poses is not None:
            return poses
    raise RuntimeError(f"no free place for a camera: every candidate is closer than {manner.clearance} m to something")


def _draw_paths(rng: Rng, frames: int, step, turn, shrink: float, manner: Manner, start, target):
    """Candidate positions (C, frames, 3), yaws and pitches (C, frames)."""
    count, cycles = len(start), max(1.0, frames / 14)
    sight = target - start
    distance = np.linalg.norm(sight, axis=1, keepdims=True)
    facing = np.arctan2(sight[:, 1], sight[:, 0])[:, None]
    # Mostly sideways, where parallax is; now and then towards the target or away from it.
    heading = facing + rng.choice([-1, 1], (count, 1)) * math.pi / 2 + rng.normal(0, 0.6, (count, 1))
    heading = heading + 0.5 * wave(rng, count, frames, cycles)
    length = rng.uniform(step[0], step[1], (count, 1)) * (1 + 0.2 * wave(rng, count, frames, cycles)).clip(0.3, 1.7)
    length = length * shrink * distance / STEP_DISTANCE
    rise = manner.climb * (rng.uniform(-1, 1, (count, 1)) + 0.4 * wave(rng, count, frames, cycles)).clip(-1, 1)
    path = np.stack((length * np.cos(heading), length * np.sin(heading), length * rise), -1).cumsum(1)
    path += start[:, None] - path.mean(1, keepdims=True)

    rate = np.radians(rng.uniform(turn[0], turn[1], (count, 1))) * rng.choice([-1, 1], (count, 1))
    rate = rate * (1 + 0.25 * wave(rng, count, frames, cycles)).clip(0.2, 1.6)
    drift = rate.cumsum(1) - rate.sum(1, keepdims=True) / 2
    sight = target[:, None] - path
    kept = np.unwrap(np.arctan2(sight[..., 1], sight[..., 0]), axis=1) + 0.5 * drift
    yaw = np.where(rng.random((count, 1)) < manner.panning, facing + drift, kept)
    pitch = np.arctan2(sight[..., 2], np.linalg.norm(sight[..., :2], axis=-1)).mean(1, keepdims=True).clip(-0.9, 0.7)
    pitch = pitch + rng.normal(0, manner.pitch_noise, (count, 1)) + 0.06 * wave(rng, count, frames, cycles)
    return path, yaw, pitch


def _choose(scene, rng: Rng, position, yaw, pitch, tilt: Tilt, manner: Manner, worth) -> Tensor | None:
    """The collision-free candidate with the most to see, as poses (frames, 4, 4); None if there is none."""
    device = scene.primitives.center.device
    count, frames = yaw.shape
    roll = tilt.roll * wave(rng, count, frames, max(1.5, frames / 20)) + rng.normal(0, tilt.lean, (count, 1))
    yaw, pitch, roll = (angle + rng.normal(0, 0.006, angle.shape) for angle in (yaw, pitch, roll))
    chosen = clear_paths(scene, position, manner.clearance)
    if len(chosen) == 0:
        return None
    poses = look_along(position[chosen], yaw[chosen], pitch[chosen], roll[chosen])
    probed = poses[:, :: max(1, frames // 6)].to(device)
    height, width = _PROBE
    intrinsics = torch.tensor([[width * 0.8, 0, width / 2 - 0.5], [0, width * 0.8, height / 2 - 0.5], [0, 0, 1]])
    grid = RayGrid.from_cameras(
        probed.flatten(0, 1), intrinsics.to(device).expand(probed[..., 0, 0].numel(), 3, 3), _PROBE
    )
    hits = cast(scene.primitives, grid)
    score = worth(hits).view(probed.shape[:2])
    score = score.mean(1) + score.amin(1)
    if probed.shape[1] > 1:
        score = score + _overlap(hits, grid, intrinsics.to(device), probed).amin(1).clamp_max(0.7)
    return poses[int(score.argmax())]


def _overlap(hits: Hits, grid: RayGrid, intrinsics: Tensor, poses: Tensor) -> Tensor:
    """Share (C, F - 1) of the points that each view sees and the next one has within its picture."""
    points = grid.origin.T[:, :, None, None] + grid.directions() * hits.depth
    points = points.flatten(2).permute(1, 2, 0).unflatten(0, poses.shape[:2])[:, :-1]
    local = (points - poses[:, 1:, None, :3, 3]) @ poses[:, 1:, :3, :3]
    pixel = local @ intrinsics.T
    u, v = (pixel[..., axis] / pixel[..., 2].clamp_min(1e-6) for axis in (0, 1))
    height, width = _PROBE
    inside = (local[..., 2] > 0) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    return inside.float().mean(-1)
