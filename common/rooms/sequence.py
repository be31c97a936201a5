"""Image sequences of procedural rooms, complete with exact depth, poses, intrinsics and labels."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from common.rooms.camera_path import Tilt, tour
from common.rooms.closeup import orbit_thing
from common.rooms.degradation import Degradation, photograph
from common.rooms.layout import build_room
from common.rooms.looks.dressing import dressed
from common.rooms.looks.photographs import Photographs
from common.rooms.primitives import Room
from common.rooms.renderer import RoomRenderer
from common.rooms.worlds import WORLDS
from common.views import Views

_HALF = 1 << 30
SPLITS = {"train": 0, "held_out": _HALF}
"""First room seed of each split; the ranges do not meet."""


def room_seed(split: str, seed: int, index: int) -> int:
    """Seed of room `index` of a data set with its own seed."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    return SPLITS[split] + (seed * 1_000_000 + index) % _HALF


def room_sequence(
    seed: int,
    num_frames: int,
    size: tuple[int, int] | int = (224, 224),
    *,
    stride: int = 1,
    step: tuple[float, float] = (0.05, 0.15),
    turn: tuple[float, float] = (3.0, 7.0),
    fov: tuple[float, float] = (50.0, 80.0),
    tilt: Tilt | None = None,
    world: str = "rooms",
    close: bool = False,
    degradation: Degradation | None = None,
    photographs: Photographs | None = None,
    clutter: float = 0.0,
    device: torch.device | str = "cpu",
) -> Views:
    """A short hand-held walk through the room, or the scene of another world, of a seed.

    Args:
        seed: decides the room, the path and the camera. Seeds of `room_seed` keep the splits apart.
        num_frames: V, the number of views.
        size: (height, width), or one number for a square.
        stride: path frames from one view to the next.
        step: range of metres between neighbouring path frames; elsewhere than in rooms for what is 2.5 m away, and in
            proportion for what is farther.
        turn: range of degrees of pan between neighbouring path frames.
        fov: range of the field of view in degrees, along the longer side of the image.
        tilt: how the camera is held; None for the defaults. Elsewhere than in rooms its lean alone counts.
        world: name of a world in `WORLDS`.
        close: film a thing of a room from near (`common.rooms.closeup`) where there is a place for that.
        degradation: strengths of the simulated camera degradations; None for the defaults.
        photographs: textures in place of some of the patterns; None for patterns only.
        clutter: things and furniture on top of the usual ones, 0 to 1.
        device: where to render; the result stays there.

    Returns:
        Views without a batch axis: images (V, 3, H, W), depth and labels (V, H, W), poses in the frame of the room
        (z up, floor at 0) and intrinsics, which are the same for all views. Depth is 0 where the sky is.
    """
    if world not in WORLDS:
        raise ValueError(f"unknown world {world!r}; there are {', '.join(WORLDS)}")
    kind = WORLDS[world]
    scene = build_room(seed, clutter) if world == "rooms" else kind.build(seed)
    rng = np.random.default_rng([13, seed])
    length = (num_frames - 1) * stride + 1
    poses = orbit_thing(scene, rng, length, step, turn, tilt.lean if tilt else 0.0) if close else None
    poses = (kind.walk(scene, rng, length, step, turn, tilt) if poses is None else poses)[::stride]
    return _render(scene, seed, poses, size, rng.uniform(*fov), degradation, device, photographs, kind.shadow_size)


def room_video(
    seed: int,
    num_frames: int = 100,
    size: tuple[int, int] | int = (224, 224),
    *,
    step: float = 0.08,
    turn: float = 4.5,
    fov: tuple[float, float] = (60.0, 75.0),
    degradation: Degradation | None = None,
    device: torch.device | str = "cpu",
) -> Views:
    """A longer walk around the room of a seed with a slow pan, so that 360 / turn frames show most of it.

    step: metres, and turn: degrees, from frame to frame, on average. The rest is as in `room_sequence`.
    """
    scene = build_room(seed)
    rng = np.random.default_rng([17, seed])
    poses = tour(scene, rng, num_frames, step, turn)
    return _render(scene, seed, poses, size, rng.uniform(*fov), degradation, device)


def pinhole(size: tuple[int, int], fov: float) -> Tensor:
    """Intrinsics (3, 3) with the field of view, in degrees, along the longer side and the centre in the middle."""
    height, width = size
    focal = max(size) / 2 / math.tan(math.radians(fov) / 2)
    return torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def _render(
    scene: Room,
    seed: int,
    poses: Tensor,
    size: tuple[int, int] | int,
    fov: float,
    degradation: Degradation | None,
    device: torch.device | str,
    photographs: Photographs | None = None,
    shadow_size: int = 128,
) -> Views:
    size = (size, size) if isinstance(size, int) else size
    intrinsics = pinhole(size, fov).expand(len(poses), 3, 3)
    scene, bank = (scene, None) if photographs is None else dressed(scene, photographs, seed)
    rendering = RoomRenderer(scene.to(device), shadow_size, bank).render(poses, intrinsics, size)
    images = photograph(rendering.radiance, seed, degradation)
    return Views(images, rendering.depth, poses.to(device), intrinsics.to(device).contiguous(), rendering.labels)
