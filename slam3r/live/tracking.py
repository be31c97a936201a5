"""Tracking state of a live camera: initialising, tracking, lost, relocalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from slam3r.live.settings import TrackingSettings
from slam3r.reconstruction.frames import RegisteredFrame

_COUNTERS = ("failures", "successes", "frames_lost", "losses", "relocalisations")


class TrackingState(str, Enum):
    """State of a stream after a frame."""

    INITIALISING = "initialising"
    """The world is not initialized yet, or the frame belongs to the initial window."""
    TRACKING = "tracking"
    LOST = "lost"
    """Several frames in a row were not registered with confidence; their poses and points are not to be trusted."""
    RELOCALISED = "relocalised"
    """Found again after a loss, by references that retrieval chose; `TRACKING` from the next frame on."""


@dataclass
class TrackingMonitor:
    """State machine of one segment; `observe` takes every registered frame, in order."""

    settings: TrackingSettings
    threshold: float
    """Mean registered confidence below which a frame failed."""
    state: TrackingState = TrackingState.INITIALISING
    failures: int = 0
    """Failed frames with a pointmap in a row."""
    successes: int = 0
    """Good frames with a pointmap in a row."""
    frames_lost: int = 0
    """Frames since the loss; 0 while not lost."""
    losses: int = 0
    relocalisations: int = 0

    def state_dict(self) -> dict[str, Any]:
        """State and counters; settings and threshold are not in it."""
        return {"state": self.state.value, **{name: getattr(self, name) for name in _COUNTERS}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.state = TrackingState(state["state"])
        for name in _COUNTERS:
            setattr(self, name, state[name])

    def is_good(self, frame: RegisteredFrame) -> bool:
        """Whether the frame was registered with confidence and has a pose."""
        return frame.camera_to_world is not None and frame.mean_confidence >= self.threshold

    def observe(self, frame: RegisteredFrame, founding: bool) -> TrackingState:
        """State after a frame.

        Args:
            frame: the next registered frame.
            founding: whether it belongs to the frames that founded the world, which cannot be lost.
        """
        if founding:
            return self.state
        if frame.has_pointmap:  # the others have the confidence of keyframes, which count themselves
            good = self.is_good(frame)
            self.successes, self.failures = (self.successes + 1, 0) if good else (0, self.failures + 1)
        if self.state is TrackingState.LOST:
            self.frames_lost += 1
            if self.successes >= self.settings.found_after:
                self.state, self.frames_lost = TrackingState.RELOCALISED, 0
                self.relocalisations += 1
        elif self.failures >= self.settings.lost_after:
            self.state, self.frames_lost = TrackingState.LOST, self.failures
            self.losses += 1
        else:
            self.state = TrackingState.TRACKING
        return self.state

    @property
    def must_reinitialise(self) -> bool:
        """Whether the loss has lasted so long that a new segment should begin."""
        limit = self.settings.reinitialise_after
        return self.state is TrackingState.LOST and 0 < limit <= self.frames_lost
