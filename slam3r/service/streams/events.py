"""Events of the streams, in the order in which they are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from slam3r.live.refining.segment_input import SegmentInput
from slam3r.live.scene_map import SceneMap
from slam3r.live.updates import FrameUpdate
from slam3r.service.frame_key import FrameKey


@dataclass(frozen=True)
class FrameResult:
    """A frame is finished."""

    key: FrameKey
    part: int
    received: float | None
    """`time.monotonic` when it came; None where an earlier worker received it."""
    update: FrameUpdate | None
    """None where the session failed."""


@dataclass(frozen=True)
class FrameDropped:
    """A frame was left out on purpose."""

    key: FrameKey
    reason: str


@dataclass(frozen=True)
class WorldPoints:
    """The points of a map, without the map's empty places."""

    points: NDArray[np.float32]
    """(N, 3) world."""
    colors: NDArray[np.uint8]
    """(N, 3) RGB."""
    confidence: NDArray[np.float32]
    """(N,)."""

    @classmethod
    def of(cls, scene: SceneMap) -> WorldPoints:
        """Copy the points of a map."""
        return cls(scene.points, scene.colors, scene.confidence)


@dataclass(frozen=True)
class WorldEnded:
    """The frames that follow on this stream have other coordinates."""

    stream_id: str
    segment: str
    part: int
    reason: str
    frames: int
    points: WorldPoints | None = None
    """None where no frame was registered, or segments are not saved."""
    refinement_input: SegmentInput | None = None
    """None where segments are not refined, and for one that went on after a restart."""


Result: TypeAlias = FrameResult | FrameDropped | WorldEnded
