"""Assignment of frames to worlds: one session per stream, a new one per segment. Runs in the inference thread.

It knows nothing of the broker: decoded frames go in, results come out in the order in which they are to be published.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from slam3r.live.refining.segment_input import SegmentInput
from slam3r.live.updates import FinishedSegment, FrameUpdate
from slam3r.service.frame_key import FrameKey
from slam3r.service.intake.frames import DecodedFrame
from slam3r.service.state.folder import Pending, StateFolder, StreamState
from slam3r.service.streams.events import FrameDropped, FrameResult, Result, WorldEnded, WorldPoints
from slam3r.service.streams.sessions import Session, SessionFactory

logger = logging.getLogger(__name__)


Finished: TypeAlias = tuple[WorldPoints | None, SegmentInput | None]
"""Points of a world, and what its refinement needs."""


@dataclass
class _Stream:
    """State of one stream."""

    stream_id: str
    segment: str
    session: Session
    part: int
    session_world: int = 0
    """Number of the world in the session."""
    frames: int = 0
    newest: int = -(2**63)
    touched: float = field(default_factory=time.monotonic)
    finished: dict[int, Finished] = field(default_factory=dict)
    """Data of worlds that the session has ended and whose ends were not handed out yet."""
    pending: OrderedDict[str, Pending] = field(default_factory=OrderedDict)
    """By the name that the session knows the frame by."""

    @property
    def world(self) -> tuple[str, str, int]:
        """Identifies the world in the state."""
        return self.stream_id, self.segment, self.part


class Streams:
    """The sessions of all streams of a worker."""

    def __init__(
        self, make_session: SessionFactory, state: StateFolder, max_streams: int, keep_points: bool = True
    ) -> None:
        """
        Args:
            make_session: for new worlds and checkpoints.
            state: of this worker; part numbers and open worlds are written there.
            max_streams: sessions at once.
            keep_points: give the points of a world along with its end.
        """
        self._make_session, self._state, self._max_streams = make_session, state, max_streams
        self._keep_points = keep_points
        self._streams: dict[str, _Stream] = {}
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

    @property
    def names(self) -> set[str]:
        """Streams with an open world. May be asked from another thread."""
        return set(self._streams)

    def restore(self) -> list[Result]:
        """Go on where an earlier worker stopped: from its checkpoints, and in new worlds where it left none. Ends that
        it did not tell are told now."""
        results: list[Result] = []
        for world in self._state.database.worlds():
            name, reason = (world.stream_id, world.segment, world.part), world.reason
            if reason is None and not self._resume(*name):
                reason = "recovered"
                self._state.database.end_world(*name, reason, world.frames)
                self._state.forget(world.stream_id)
            if reason is not None:
                results.append(WorldEnded(*name, reason, world.frames))
        return results

    def _resume(self, stream_id: str, segment: str, part: int) -> bool:
        """Restore the session of a world from its checkpoint, if it can be used."""
        found = self._state.checkpoint_of(stream_id, segment, part)
        if found is None:
            return False
        saved, path = found
        finished: dict[int, Finished] = {}
        try:
            session = self._make_session(path, self._keep(finished))
        except Exception as error:  # of an older version, damaged, or of another model
            logger.error("the checkpoint %s cannot be used: %s", path, error)
            return False
        stream = _Stream(stream_id, segment, session, part, saved.session_world, saved.frames, saved.newest)
        stream.finished = finished
        stream.pending.update((str(held.key.timestamp_ns), held) for held in saved.pending)
        self._streams[stream_id] = stream
        logger.info("stream %s goes on in segment %s", stream_id, segment)
        return True

    def push(self, frames: Sequence[DecodedFrame]) -> Iterator[Result]:
        """Take frames of any streams in the order of their arrival, and yield each result as soon as it is final.

        Nothing else may be called until the iterator is exhausted.
        """
        for group in _runs(frames):
            key = group[0].incoming.key
            late = [self._state.database.is_late(frame.incoming.key) for frame in group]
            yield from (FrameDropped(frame.incoming.key, "late") for frame, is_late in zip(group, late) if is_late)
            group = [frame for frame, is_late in zip(group, late) if not is_late]
            if not group:
                continue
            stream = self._streams.get(key.stream_id)
            if stream is not None and stream.segment != key.segment:
                yield from self._end(stream, "segment")
                stream = None
            if stream is None:
                if len(self._streams) >= self._max_streams:
                    idlest = min(self._streams.values(), key=lambda other: other.touched)
                    yield from self._end(idlest, "idle")
                stream = self._begin(key)
            yield from self._push_to(stream, group)

    def end(self, stream_id: str | None, reason: str) -> Iterator[Result]:
        """End the world of a stream, or of all, and yield each result as soon as it is final; see `push`."""
        for stream in [s for s in self._streams.values() if stream_id is None or s.stream_id == stream_id]:
            yield from self._end(stream, reason)

    def checkpoint(self) -> bool:
        """Write every session to the state folder; whether all of them could."""
        saved = [self._state.save(self._saved(stream), stream.session.checkpoint) for stream in self._streams.values()]
        return all(saved)

    def _begin(self, key: FrameKey) -> _Stream:
        finished: dict[int, Finished] = {}
        session = self._make_session(None, self._keep(finished))
        self._state.forget(key.stream_id)
        part = self._state.database.begin_world(key.stream_id, key.segment)
        stream = self._streams[key.stream_id] = _Stream(key.stream_id, key.segment, session, part, finished=finished)
        return stream

    def _push_to(self, stream: _Stream, group: Sequence[DecodedFrame]) -> Iterator[Result]:
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
            for update in stream.session.feed([frame.prepared for frame in group], times, names):
                yield from self._results(stream, update)
        except Exception:  # of the device, or a fault of ours: this world is lost, the stream is not
            logger.exception("the reconstruction of stream %s failed; a new world begins", stream.stream_id)
            yield from self._close(stream, "failed")

    def _results(self, stream: _Stream, update: FrameUpdate) -> Iterator[Result]:
        if update.segment != stream.session_world:
            yield self._ended(stream, "lost")
            stream.session_world, stream.frames = update.segment, 0
            stream.part = self._state.database.begin_world(stream.stream_id, stream.segment)
        held = stream.pending.pop(update.name, None)
        if held is not None:
            stream.frames += 1
            self._state.database.count_frames(*stream.world, stream.frames)
            yield FrameResult(held.key, stream.part, held.received, update)

    def _end(self, stream: _Stream, reason: str) -> Iterator[Result]:
        try:
            for update in stream.session.drain():
                yield from self._results(stream, update)
        except Exception:
            logger.exception("the last frames of stream %s could not be finished", stream.stream_id)
        yield from self._close(stream, reason)

    def _close(self, stream: _Stream, reason: str) -> Iterator[Result]:
        """End a world; what its session still holds stays without one."""
        for held in stream.pending.values():
            yield FrameResult(held.key, stream.part, held.received, None)
        ended = self._ended(stream, reason)
        del self._streams[stream.stream_id]
        if reason == "segment":
            self._state.database.close_segment(stream.stream_id, stream.segment, stream.newest)
        self._state.forget(stream.stream_id)
        yield ended

    def _ended(self, stream: _Stream, reason: str) -> WorldEnded:
        points, held = stream.finished.pop(stream.session_world, (None, None))
        self._state.database.end_world(*stream.world, reason, stream.frames)
        return WorldEnded(*stream.world, reason, stream.frames, points, held)

    def _keep(self, finished: dict[int, Finished]) -> Callable[[FinishedSegment], None]:
        """A listener that keeps the points of ended worlds. The maps themselves, 88 MB each by default, are let go."""

        def keep(segment: FinishedSegment) -> None:
            if self._keep_points:
                finished[segment.summary.number] = WorldPoints.of(segment.map), segment.refinement_input

        return keep

    def _saved(self, stream: _Stream) -> StreamState:
        return StreamState(
            stream_id=stream.stream_id,
            segment=stream.segment,
            part=stream.part,
            session_world=stream.session_world,
            frames=stream.frames,
            newest=stream.newest,
            pending=list(stream.pending.values()),
        )


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
