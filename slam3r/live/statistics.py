"""Speed and frame counts of a live session, in bounded memory."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from common.configuration import to_dataclass
from common.meters import StageTimer, resident_memory
from slam3r.live.segment import LiveSegment
from slam3r.live.tracking import TrackingState
from slam3r.live.updates import FrameUpdate, SegmentSummary

_COUNTERS = ("registered", "rejected", "segments_closed", "losses", "relocalisations", "reinitialisations")
WINDOW = 1000
"""Recent frames that percentiles are taken over."""


@dataclass(frozen=True)
class Latency:
    """Seconds, over the recent frames; NaN where there are none."""

    p50: float
    p95: float
    p99: float
    worst: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Latency:
        """Percentiles of a sample."""
        if not seconds:
            return Latency(math.nan, math.nan, math.nan, math.nan)
        values = np.asarray(seconds)
        p50, p95, p99 = (float(value) for value in np.percentile(values, [50, 95, 99]))
        return Latency(p50, p95, p99, float(values.max()))


@dataclass(frozen=True)
class StageStatistics:
    """One stage of the work."""

    total: float
    """Seconds since the session began."""
    per_frame: Latency
    """Seconds per frame of the recent calls of `push`."""


@dataclass(frozen=True)
class LiveStatistics:
    """Snapshot of a session's statistics."""

    state: TrackingState
    segment: int | None
    """Number of the open segment; None between two."""
    stride: int | None
    motion: float | None
    """Per frame, smoothed, in image widths."""
    frames_pushed: int
    frames_registered: int
    frames_rejected: int
    """Frames that were never registered, because their segment ended before its initialization."""
    frames_by_state: dict[TrackingState, int]
    frames_waiting: int
    segments_closed: int
    recent_segments: tuple[SegmentSummary, ...]
    losses: int
    relocalisations: int
    reinitialisations: int
    """Segments that ended because the camera was lost."""
    latency: Latency
    """From push to answer."""
    frames_per_second: float
    """Answers over the time of the recent ones, waiting for frames included; NaN below two."""
    capacity: float
    """Frames per second that the session would reach if frames were always there: pushed frames over busy seconds."""
    stages: dict[str, StageStatistics]
    map_points: int
    memory: int
    """Bytes resident in the process."""


class SessionMeter:
    """Counts and times of a session."""

    def __init__(self, timer: StageTimer, remembered_segments: int) -> None:
        """
        Args:
            timer: of the session.
            remembered_segments: closed segments that are listed.
        """
        self._timer = timer
        self.by_state: Counter[TrackingState] = Counter()
        self.registered = self.rejected = self.segments_closed = 0
        self.losses = self.relocalisations = self.reinitialisations = 0
        self.segments: deque[SegmentSummary] = deque(maxlen=remembered_segments)
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._answered: deque[float] = deque(maxlen=WINDOW)
        self._stages: dict[str, deque[float]] = {}
        self._seconds: dict[str, float] = {}
        self._pushed = 0

    def state_dict(self) -> dict[str, Any]:
        """The counts; latencies and stages belong to the process and are not in it."""
        return {
            **{name: getattr(self, name) for name in _COUNTERS},
            "by_state": {state.value: count for state, count in self.by_state.items()},
            "segments": [asdict(summary) for summary in self.segments],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.by_state = Counter({TrackingState(name): count for name, count in state["by_state"].items()})
        self.segments.extend(to_dataclass(summary, SegmentSummary) for summary in state["segments"])

    def take(self, updates: Sequence[FrameUpdate]) -> None:
        """Count answers."""
        now = time.perf_counter()
        for update in updates:
            if update.frame is None:
                self.rejected += 1
            else:
                self.registered += 1
                self.by_state[update.state] += 1
            self._latencies.append(update.latency)
            self._answered.append(now)

    def close_segment(self, summary: SegmentSummary) -> None:
        """Count a closed segment."""
        self.segments.append(summary)
        self.segments_closed += 1
        self.losses += summary.losses
        self.relocalisations += summary.relocalisations
        self.reinitialisations += summary.ended_by == "lost"

    def end_call(self, pushed: int) -> None:
        """A call of the session is over: read the timer."""
        self._pushed += pushed
        for stage, total in self._timer.seconds.items():
            spent = total - self._seconds.get(stage, 0.0)
            self._seconds[stage] = total
            if spent > 0 and pushed:
                self._stages.setdefault(stage, deque(maxlen=WINDOW)).append(spent / pushed)

    def statistics(self, segment: LiveSegment | None, frames_pushed: int) -> LiveStatistics:
        """Statistics at this moment, with the open segment included."""
        busy = sum(self._timer.seconds.values())
        elapsed = self._answered[-1] - self._answered[0] if len(self._answered) > 1 else 0.0
        monitor = None if segment is None else segment.monitor
        return LiveStatistics(
            state=TrackingState.INITIALISING if monitor is None else monitor.state,
            segment=None if segment is None else segment.number,
            stride=None if segment is None else segment.reconstructor.stride,
            motion=None if segment is None else segment.controller.motion,
            frames_pushed=frames_pushed,
            frames_registered=self.registered,
            frames_rejected=self.rejected,
            frames_by_state=dict(self.by_state),
            frames_waiting=0 if segment is None else len(segment.waiting),
            segments_closed=self.segments_closed,
            recent_segments=tuple(self.segments),
            losses=self.losses + (0 if monitor is None else monitor.losses),
            relocalisations=self.relocalisations + (0 if monitor is None else monitor.relocalisations),
            reinitialisations=self.reinitialisations,
            latency=Latency.of(list(self._latencies)),
            frames_per_second=(len(self._answered) - 1) / elapsed if elapsed > 0 else math.nan,
            capacity=self._pushed / busy if busy > 0 else math.nan,
            stages={
                stage: StageStatistics(total, Latency.of(list(self._stages.get(stage, ()))))
                for stage, total in self._timer.seconds.items()
            },
            map_points=0 if segment is None else segment.map.num_points,
            memory=resident_memory(),
        )
