"""Which frame goes to which world: one session per stream, a new one per segment. Runs in the inference thread.

It knows nothing of the broker: decoded frames go in, results come out in the order in which they are to be published.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from slam3r.live.scene_map import SceneMap
from slam3r.live.session import FinishedSegment, FrameUpdate
from slam3r.service.frames import DecodedFrame, FrameKey
from slam3r.service.saved_state import Pending, StateFolder, StreamState
from slam3r.service.sessions import Session, SessionFactory

logger = logging.getLogger(__name__)

_CLOSED_REMEMBERED = 64


@dataclass(frozen=True)
class FrameResult:
    """A frame is done."""

    key: FrameKey
    part: int
    received: float | None
    update: FrameUpdate | None
    """None where the session failed."""


@dataclass(frozen=True)
class FrameDropped:
    """A frame was left out on purpose."""

    key: FrameKey
    reason: str


@dataclass(frozen=True)
class WorldEnded:
    """The frames that follow on this stream have other coordinates."""

    stream_id: str
    segment: str
    part: int
    reason: str
    frames: int
    map: SceneMap | None = None
    """Where any frame was registered."""


Result: TypeAlias = FrameResult | FrameDropped | WorldEnded


@dataclass
class _Stream:
    """What is known of one stream."""

    stream_id: str
    segment: str
    session: Session
    first_part: int
    """Part of the session's world 0."""
    world: int = 0
    frames: int = 0
    newest: int = -(2**63)
    touched: float = field(default_factory=time.monotonic)
    finished: dict[int, SceneMap] = field(default_factory=dict)
    """Maps of worlds that the session has ended and we have not yet told of."""
    pending: OrderedDict[str, Pending] = field(default_factory=OrderedDict)
    """By the name that the session knows the frame by."""

    @property
    def part(self) -> int:
        return self.first_part + self.world


class Streams:
    """The sessions of all streams of a worker."""

    def __init__(self, make_session: SessionFactory, state: StateFolder, max_streams: int) -> None:
        self._make_session, self._state, self._max_streams = make_session, state, max_streams
        self._streams: dict[str, _Stream] = {}
        self._closed: OrderedDict[tuple[str, str], int] = OrderedDict()
        """Newest timestamp of segments that are over."""
        self._parts: dict[tuple[str, str], int] = {}
        self.num_backwards = 0
        """Frames that were older than the one before."""

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def num_points(self) -> int:
        """Points in the maps of all open worlds. May be asked from another thread."""
        maps = [stream.session.map for stream in list(self._streams.values())]
        return sum(scene.num_points for scene in maps if scene is not None)

    @property
    def pending(self) -> list[FrameKey]:
        """Frames that sessions hold and have not handed out."""
        return [held.key for stream in self._streams.values() for held in stream.pending.values()]

    def restore(self) -> list[Result]:
        """Go on where an earlier worker stopped: from its checkpoints, and in new worlds where it left none."""
        results: list[Result] = []
        for saved in self._state.streams():
            checkpoint = self._state.checkpoint_of(saved.stream_id)
            if checkpoint is None:
                results.append(self._recover(saved))
                continue
            finished: dict[int, SceneMap] = {}
            try:
                session = self._make_session(checkpoint, _keep(finished))
            except Exception as error:  # of an older version, damaged, or of another model
                logger.error("the checkpoint %s cannot be used: %s", checkpoint, error)
                results.append(self._recover(saved))
                continue
            stream = _Stream(saved.stream_id, saved.segment, session, saved.part - saved.world, saved.world)
            stream.frames, stream.newest, stream.finished = saved.frames, saved.newest, finished
            stream.pending.update((str(held.key.timestamp_ns), held) for held in saved.pending)
            self._streams[saved.stream_id] = stream
            logger.info("stream %s goes on in segment %s", saved.stream_id, saved.segment)
        return results

    def push(self, frames: Sequence[DecodedFrame]) -> list[Result]:
        """Take frames of any streams in the order of their arrival."""
        results: list[Result] = []
        for group in _runs(frames):
            key = group[0].incoming.key
            if self._is_late(group):
                results += [FrameDropped(frame.incoming.key, "late") for frame in group]
                continue
            stream = self._streams.get(key.stream_id)
            if stream is not None and stream.segment != key.segment:
                results += self._end(stream, "segment")
                stream = None
            if stream is None:
                if len(self._streams) >= self._max_streams:
                    idlest = min(self._streams.values(), key=lambda other: other.touched)
                    results += self._end(idlest, "idle")
                stream = self._begin(key)
            results += self._push_to(stream, group)
        return results

    def end(self, stream_id: str | None, reason: str) -> list[Result]:
        """End the world of a stream, or of all."""
        chosen = [s for s in list(self._streams.values()) if stream_id is None or s.stream_id == stream_id]
        return [result for stream in chosen for result in self._end(stream, reason)]

    def end_idle(self, seconds: float) -> list[Result]:
        """End the worlds of streams that nothing came from for so long: their last frames wait to be finished."""
        limit = time.monotonic() - seconds
        return [r for s in list(self._streams.values()) if s.touched < limit for r in self._end(s, "idle")]

    def checkpoint(self) -> bool:
        """Write every session to the state folder; whether all of them could."""
        saved = [self._state.save(self._saved(stream), stream.session) for stream in self._streams.values()]
        return all(saved)

    def _recover(self, saved: StreamState) -> WorldEnded:
        """A world whose session is lost has ended; should its segment go on, then in the next part."""
        self._parts[saved.stream_id, saved.segment] = saved.part + 1
        return WorldEnded(saved.stream_id, saved.segment, saved.part, "recovered", saved.frames)

    def _begin(self, key: FrameKey) -> _Stream:
        part = self._parts.pop((key.stream_id, key.segment), 0)
        finished: dict[int, SceneMap] = {}
        session = self._make_session(None, _keep(finished))
        stream = _Stream(key.stream_id, key.segment, session, part, finished=finished)
        self._streams[key.stream_id] = stream
        self._state.begin(self._saved(stream))
        return stream

    def _push_to(self, stream: _Stream, group: Sequence[DecodedFrame]) -> list[Result]:
        names = []
        for frame in group:
            key = frame.incoming.key
            self.num_backwards += key.timestamp_ns < stream.newest
            stream.newest = max(stream.newest, key.timestamp_ns)
            names.append(str(key.timestamp_ns))
            stream.pending[names[-1]] = Pending(key, frame.incoming.received)
        stream.touched = time.monotonic()
        times = [frame.incoming.key.timestamp_ns / 1e9 for frame in group]
        try:
            updates = stream.session.push([frame.prepared for frame in group], times, names)
        except Exception:  # of the device, or a fault of ours: this world is lost, the stream is not
            logger.exception("the reconstruction of stream %s failed; a new world begins", stream.stream_id)
            return self._close(stream, "failed")
        return self._results(stream, updates)

    def _results(self, stream: _Stream, updates: Iterable[FrameUpdate]) -> list[Result]:
        results: list[Result] = []
        for update in updates:
            if update.segment != stream.world:
                results.append(self._ended(stream, "lost"))
                stream.world, stream.frames = update.segment, 0
                self._state.begin(self._saved(stream))
            held = stream.pending.pop(update.name, None)
            if held is not None:
                stream.frames += 1
                results.append(FrameResult(held.key, stream.part, held.received, update))
        return results

    def _end(self, stream: _Stream, reason: str) -> list[Result]:
        try:
            results = self._results(stream, stream.session.flush())
        except Exception:
            logger.exception("the last frames of stream %s could not be finished", stream.stream_id)
            results = []
        return results + self._close(stream, reason)

    def _close(self, stream: _Stream, reason: str) -> list[Result]:
        """End a world; what its session still holds stays without one."""
        results: list[Result] = [
            FrameResult(held.key, stream.part, held.received, None) for held in stream.pending.values()
        ]
        results.append(self._ended(stream, reason))
        del self._streams[stream.stream_id]
        name = (stream.stream_id, stream.segment)
        if reason == "segment":
            self._closed[name] = stream.newest
            while len(self._closed) > _CLOSED_REMEMBERED:
                self._closed.popitem(last=False)
        if reason != "stopped":
            self._parts[name] = stream.part + 1  # should the segment come again
            while len(self._parts) > _CLOSED_REMEMBERED:
                self._parts.pop(next(iter(self._parts)))
            self._state.forget(stream.stream_id)
        return results

    def _ended(self, stream: _Stream, reason: str) -> WorldEnded:
        scene = stream.finished.pop(stream.world, None)
        return WorldEnded(stream.stream_id, stream.segment, stream.part, reason, stream.frames, scene)

    def _is_late(self, group: Sequence[DecodedFrame]) -> bool:
        """Whether frames belong to a segment that is over; one with newer frames than it had is a new beginning."""
        key = group[0].incoming.key
        newest = self._closed.get((key.stream_id, key.segment))
        return newest is not None and key.timestamp_ns <= newest

    def _saved(self, stream: _Stream) -> StreamState:
        return StreamState(
            stream_id=stream.stream_id,
            segment=stream.segment,
            part=stream.part,
            world=stream.world,
            frames=stream.frames,
            newest=stream.newest,
            pending=list(stream.pending.values()),
        )


def _keep(finished: dict[int, SceneMap]) -> Callable[[FinishedSegment], None]:
    def keep(segment: FinishedSegment) -> None:
        finished[segment.summary.number] = segment.map

    return keep


def _runs(frames: Sequence[DecodedFrame]) -> list[list[DecodedFrame]]:
    """Groups of one stream and segment each. The order within a stream stays; streams may pass each other."""
    groups: list[list[DecodedFrame]] = []
    last: dict[str, list[DecodedFrame]] = {}
    for frame in frames:
        key = frame.incoming.key
        group = last.get(key.stream_id)
        if group is None or group[0].incoming.key.segment != key.segment:
            group = []
            groups.append(group)
            last[key.stream_id] = group
        group.append(frame)
    return groups
