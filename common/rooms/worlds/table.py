"""The worlds that pictures are rendered from: how each builds the scene of a seed, and how a camera moves in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from common.rooms import camera_path
from common.rooms.layout import build_room
from common.rooms.primitives import Room
from common.rooms.worlds import floating, street


@dataclass(frozen=True)
class World:
    """One kind of scene."""

    build: Callable[[int], Room]
    """The scene of a seed, on the CPU. Same seed, same scene."""
    walk: Callable[..., Tensor]
    """Poses (frames, 4, 4) in a scene; takes what `camera_path.walk` takes."""
    shadow_size: int = 128
    """Texels along a side of a shadow cube."""


WORLDS = {
    "rooms": World(build_room, camera_path.walk),
    "objects": World(floating.build_objects, floating.walk),
    "street": World(street.build_street, street.walk, shadow_size=256),
}
