"""Live session: takes the frames of a stream and returns one answer for each, in bounded memory.

live = LiveReconstruction(networks, LiveSettings(), calibration)
for image, time in camera:
    for update in live.feed([image], [time]):
        publish(update)
publish_all(live.flush())
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.configuration import to_dataclass
from common.errors import CheckpointError, InputError
from common.geometry.calibration import Calibration
from common.meters import StageTimer
from slam3r.live.checkpoint import read_checkpoint, write_checkpoint
from slam3r.live.frame_preparer import FramePreparer, Images, PreparedFrame
from slam3r.live.scene_map import SceneMap
from slam3r.live.segment import LiveSegment, WaitingFrame
from slam3r.live.settings import LiveSettings
from slam3r.live.statistics import LiveStatistics, SessionMeter
from slam3r.live.tracking import TrackingState
from slam3r.live.updates import FinishedSegment, FrameUpdate
from slam3r.reconstruction import Networks

logger = logging.getLogger(__name__)


class LiveReconstruction:
    """Segments one after the other, each a world of its own, on one pair of networks.

    A segment ends by `new_segment`, by `flush`, or by itself when the camera was lost for too long; the next begins
    with the next frame. Not thread-safe but for `prepare`: one thread drives a session.
    """

    def __init__(
        self,
        networks: Networks,
        settings: LiveSettings | None = None,
        calibration: Calibration | None = None,
        on_segment_end: Callable[[FinishedSegment], None] | None = None,
        resuming: bool = False,
    ) -> None:
        """
        Args:
            networks: may be shared by many sessions that take turns.
            settings: of the session.
            calibration: frames are undistorted, and poses and intrinsics use it; estimated where None.
            on_segment_end: called with every closed segment that has registered frames, with its map: before `push`,
                `new_segment` or `flush` returns the answers to its last frames, after `feed` or `drain` has yielded
                them. An exception of it propagates from the call that ended the segment, which stays ended; answers
                that were not yielded are then in `undelivered`.
            resuming: the folder of `StreamingSettings.disk_map` holds this session's maps already (`restore`).

        Raises:
            InputError: the folder holds another session's maps.
        """
        self.networks, self.settings, self.calibration = networks, settings or LiveSettings(), calibration
        folder = self.settings.streaming.disk_map
        if folder is not None and not resuming and any(Path(folder).glob("segment_*")):
            raise InputError(f"disk_map {folder} holds the maps of another session; choose another folder")
        self.timer = StageTimer(networks.device)
        """Seconds per stage, over all segments."""
        self.undelivered: list[FrameUpdate] = []
        """Answers that an exception kept from being returned; the next `push`, `new_segment` or `flush` returns them
        first."""
        self._prepare = FramePreparer(self.settings.size, calibration, self.settings.streaming.side_to_keep)
        self._on_segment_end = on_segment_end
        self._meter = SessionMeter(self.timer, self.settings.streaming.remembered_segments)
        self._segment: LiveSegment | None = None
        self._next_segment = 0
        self._next_name: str | None = None
        self._num_frames = 0

    def prepare(self, image: NDArray[np.uint8]) -> PreparedFrame:
        """Undistort, resize and normalize a picture (H, W, 3) uint8 RGB, for `push`; may run in another thread.

        Raises:
            ValueError: not such a picture, or one that the calibration is not for. The session is not touched.
        """
        return self._prepare(image)

    def push(
        self, images: Images, timestamps: Sequence[float] | None = None, names: Sequence[str] | None = None
    ) -> list[FrameUpdate]:
        """Take the next frames of the stream.

        Args:
            images: pictures (H, W, 3) uint8 RGB of any size, frames from `prepare`, or (F, 3, H, W) float network
                images; see `FramePreparer.all`. With nothing, what is undelivered is returned.
            timestamps: seconds, passed through as they are, also if they go backwards; the frame's number where None.
            names: the frame's number where None.

        Returns:
            Answers to this and earlier frames that are finished by now, in the order of pushing. At most
            `LiveSettings.largest_delay` frames wait for theirs.

        Raises:
            ValueError: a frame that cannot be used, or numbers of images, timestamps and names that differ. No frame
                of the call was taken then.
        """
        for _ in self._take(images, timestamps, names):
            pass
        return self._hand_out()

    def feed(
        self, images: Images, timestamps: Sequence[float] | None = None, names: Sequence[str] | None = None
    ) -> Iterator[FrameUpdate]:
        """Take the next frames as `push` does, and yield each answer as soon as it is final.

        Nothing else may be called until the iterator is exhausted. Whoever closes it before that waits for the rest of
        the call, and finds its answers in `undelivered`.
        """
        return self._as_they_come(self._take(images, timestamps, names))

    def new_segment(self, name: str | None = None) -> list[FrameUpdate]:
        """End the segment; the next frame begins another, called `name` (its number where None).

        Returns:
            Answers to all frames that waited. A segment that was too short has its frames rejected, with the reason.
        """
        for _ in self._close("new segment"):
            pass
        self._next_name = name
        return self._hand_out()

    def flush(self) -> list[FrameUpdate]:
        """End the segment because the stream ends; answers to all frames that waited. More frames begin another."""
        for _ in self._close("flush"):
            pass
        return self._hand_out()

    def drain(self) -> Iterator[FrameUpdate]:
        """End the segment as `flush` does, and yield each answer as soon as it is final; see `feed`."""
        return self._as_they_come(self._close("flush"))

    @property
    def state(self) -> TrackingState:
        """State of the open segment; initialising where there is none."""
        return TrackingState.INITIALISING if self._segment is None else self._segment.monitor.state

    @property
    def map(self) -> SceneMap | None:
        """Map of the open segment; None where there is none."""
        return None if self._segment is None else self._segment.map

    @property
    def waiting(self) -> tuple[tuple[int, str, float], ...]:
        """(number, name, timestamp) of the frames that have no answer yet, oldest first. After `restore`, a
        caller that delivers frames again must leave these out: the session has them."""
        segment = self._segment
        return () if segment is None else tuple((item.number, item.name, item.timestamp) for item in segment.waiting)

    def statistics(self) -> LiveStatistics:
        """Counts, latencies and throughput so far. Cheap."""
        return self._meter.statistics(self._segment, self._num_frames)

    def checkpoint(self, path: str | Path) -> None:
        """Write the session to a file, atomically: safetensors with JSON, no pickle.

        Networks and latencies are not in it.

        Raises:
            RuntimeError: answers are undelivered; fetch them with ``push([])`` first, or they would be lost.
        """
        if self.undelivered:
            raise RuntimeError(f"{len(self.undelivered)} answers are undelivered: fetch them before the checkpoint")
        if self._segment is not None:
            self._segment.commit()
        state = {
            "networks": self.networks.sizes(),
            "settings": asdict(self.settings),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "session": self.state_dict(),
        }
        write_checkpoint(Path(path), state)

    @classmethod
    def restore(
        cls,
        path: str | Path,
        networks: Networks,
        on_segment_end: Callable[[FinishedSegment], None] | None = None,
    ) -> LiveReconstruction:
        """The session of a checkpoint, which continues as if it had never stopped.

        Raises:
            CheckpointError: not a session, one of another version, damaged, or made with networks of other sizes.
        """
        state = read_checkpoint(Path(path))
        try:
            if state["networks"] != networks.sizes():
                raise CheckpointError(f"{path} was made with networks of other sizes: {state['networks']}")
            settings = to_dataclass(state["settings"], LiveSettings)
            calibration = None if state["calibration"] is None else to_dataclass(state["calibration"], Calibration)
            session = cls(networks, settings, calibration, on_segment_end, resuming=True)
            session.load_state_dict(state["session"])
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise CheckpointError(f"{path} does not hold a whole session: {error!r}") from error
        return session

    def state_dict(self) -> dict[str, Any]:
        """Counters, statistics and the open segment: tensors (not copied) and plain values, nested by name."""
        return {
            "num_frames": self._num_frames,
            "next_segment": self._next_segment,
            "next_name": self._next_name,
            "meter": self._meter.state_dict(),
            "segment": None if self._segment is None else self._segment.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Bring a new session, of the same networks, settings and calibration, to where `state_dict` was taken.

        Raises:
            KeyError, ValueError, TypeError: the state is incomplete or not one.
        """
        self._num_frames, self._next_segment = state["num_frames"], state["next_segment"]
        self._next_name = state["next_name"]
        self._meter.load_state_dict(state["meter"])
        own = state["segment"]
        if own is not None:
            self._segment = self._make_segment(own["number"], own["name"], own["first_frame"], own["intrinsics"])
            self._segment.load_state_dict(own)

    def _begin_segment(self, first_frame: int, intrinsics: Tensor | None) -> LiveSegment:
        number, self._next_segment = self._next_segment, self._next_segment + 1
        name, self._next_name = self._next_name or str(number), None
        self._segment = self._make_segment(number, name, first_frame, intrinsics)
        return self._segment

    def _make_segment(self, number: int, name: str, first_frame: int, intrinsics: Tensor | None) -> LiveSegment:
        return LiveSegment(number, name, first_frame, self.networks, self.settings, intrinsics, self.timer)

    def _take(self, images: Images, timestamps: Sequence[float] | None, names: Sequence[str] | None) -> Iterator[None]:
        """Check the frames of a call, and return its work in steps; each puts an answer into `undelivered`."""
        arrival = time.perf_counter()
        with self.timer("prepare"):
            prepared = self._prepare.all(images)
        for what, values in (("timestamps", timestamps), ("names", names)):
            if values is not None and len(values) != len(prepared):
                raise ValueError(f"{len(prepared)} images with {len(values)} {what}")
        return self._register(prepared, timestamps, names, arrival)

    def _register(
        self,
        prepared: Sequence[PreparedFrame],
        timestamps: Sequence[float] | None,
        names: Sequence[str] | None,
        arrival: float,
    ) -> Iterator[None]:
        batch = self.settings.reconstruction.encode_batch
        for start in range(0, len(prepared), batch):
            frames = prepared[start : start + batch]
            waiting = []
            for offset, frame in enumerate(frames, start):
                number = self._num_frames
                self._num_frames += 1
                seconds = float(number) if timestamps is None else float(timestamps[offset])
                name = str(number) if names is None else names[offset]
                item = WaitingFrame(number, name, seconds, frame.original_from_network, frame.original_size, arrival)
                waiting.append(item)
            segment = self._segment or self._begin_segment(waiting[0].number, frames[0].intrinsics)
            yield from self._collect(segment.feed(frames, waiting))
            if segment.should_restart:
                logger.warning("lost for %d frames: a new segment begins", segment.monitor.frames_lost)
                yield from self._end_segment("lost")
        self._meter.end_call(len(prepared))

    def _close(self, ended_by: str) -> Iterator[None]:
        yield from self._end_segment(ended_by)
        self._meter.end_call(0)

    def _end_segment(self, ended_by: str) -> Iterator[None]:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        yield from self._collect(segment.finish())
        summary = segment.summary(ended_by)
        self._meter.close_segment(summary)
        if self._on_segment_end is not None and summary.num_registered:
            self._on_segment_end(FinishedSegment(summary, segment.map, segment.refinement_input))

    def _collect(self, updates: Iterator[FrameUpdate]) -> Iterator[None]:
        for update in updates:
            self._meter.take([update])
            self.undelivered.append(update)
            yield

    def _as_they_come(self, steps: Iterator[None]) -> Iterator[FrameUpdate]:
        try:
            for _ in steps:
                while self.undelivered:
                    yield self.undelivered.pop(0)
        finally:  # closed early: a call that is half done would leave the session with frames that nobody answers
            for _ in steps:
                pass
        yield from self._hand_out()

    def _hand_out(self) -> list[FrameUpdate]:
        updates, self.undelivered = self.undelivered, []
        return updates
