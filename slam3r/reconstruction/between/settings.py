"""Settings of the choice of frames that go through the networks. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from common.ranges import Count, Share


@dataclass(frozen=True)
class BetweenSettings:
    """Choice of keyframes by the motion of tracked corners; the frames between them get a pose and no pointmap."""

    motion: Share = 0.0
    """Median motion of corners since the last keyframe that makes a frame a keyframe, in widths of the picture.
    0: every frame goes through the networks, as published."""
    corners: Share = 0.5
    """A frame in which a smaller share of the last keyframe's corners is found again is a keyframe."""
    longest: Count = 20
    """Frames from one keyframe to the next, at most."""

    @property
    def is_on(self) -> bool:
        """Whether there are frames without pointmaps."""
        return self.motion > 0
