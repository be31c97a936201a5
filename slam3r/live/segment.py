"""One segment of a live session: one world, from its founding to its end."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from common.data.sources.preprocess import intrinsics_to_original
from common.meters import StageTimer
from slam3r.live.disk_map import DiskMap
from slam3r.live.frame_preparer import PreparedFrame
from slam3r.live.refining.segment_input import SegmentInput
from slam3r.live.scene_map import MapDelta, SceneMap
from slam3r.live.settings import LiveSettings
from slam3r.live.stride_control import MotionMeter, StrideController
from slam3r.live.tracking import TrackingMonitor, TrackingState
from slam3r.live.updates import FrameUpdate, SegmentSummary
from slam3r.reconstruction import Networks, RegisteredFrame, SequenceTooShort
from slam3r.reconstruction.between.start import start_reconstruction
from slam3r.reconstruction.events import Event, Initialized, Registered

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WaitingFrame:
    """A frame that was pushed and has no answer yet."""

    number: int
    name: str
    timestamp: float
    original_from_network: Tensor
    original_size: tuple[int, int]
    arrival: float
    """`time.perf_counter` at the push."""


class _Stateful(Protocol):
    """A part with a state of its own."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, nested by name."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class _Decisions:
    """Decisions of the reconstructor about frames that have no answer yet.

    An object of its own: were the segment itself the observer, the two would refer to each other, and an ended segment
    would stay in memory, with a map of 88 MB by default, until the garbage collector looks for cycles.
    """

    def __init__(self) -> None:
        self.last_founding = -1
        """Last frame of the initial window, once there is one."""
        self.references: tuple[int, ...] = ()
        """Frames that those of the present round were registered against; empty before the first round."""

    def observe(self, event: Event) -> None:
        """Take note of a decision."""
        if isinstance(event, Initialized):
            self.last_founding = event.frames[-1]
        elif isinstance(event, Registered):
            self.references = event.selected


class LiveSegment:
    """Drives one reconstructor, watches its tracking, adapts its stride and fills its map."""

    def __init__(
        self,
        number: int,
        name: str,
        first_frame: int,
        networks: Networks,
        settings: LiveSettings,
        intrinsics: Tensor | None,
        timer: StageTimer,
    ) -> None:
        """
        Args:
            number: of the segment in the session.
            name: of the segment.
            first_frame: number in the session of its first frame.
            networks: shared by all segments.
            settings: of the session.
            intrinsics: (3, 3) network pixels where the camera is calibrated.
            timer: of the session, which counts on over segments.
        """
        self.number, self.name, self.first_frame, self.settings = number, name, first_frame, settings
        self.intrinsics = intrinsics
        reconstruction = settings.reconstruction
        if intrinsics is not None and settings.streaming.calibrated_poses:
            reconstruction = replace(reconstruction, pose_method="pnp_first")
        self._decisions = _Decisions()
        observe = self._decisions.observe
        self.reconstructor = start_reconstruction(
            networks, reconstruction, observe, intrinsics, settings.largest_stride, timer
        )
        tracking = settings.streaming.tracking
        threshold = reconstruction.weak_confidence if tracking.confidence is None else tracking.confidence
        self.monitor = TrackingMonitor(tracking, threshold)
        bounds = (reconstruction.stride_min, settings.largest_stride)
        self.controller = StrideController(settings.streaming.stride, bounds)
        self.motion = MotionMeter()
        self.map = SceneMap(settings.streaming.map)
        folder = settings.streaming.disk_map
        self.disk: DiskMap | None = None if folder is None else DiskMap(Path(folder) / f"segment_{number:04d}")
        """None also after a write failed."""
        streaming = settings.streaming
        self.refinement_input = SegmentInput(streaming.refine_frames, intrinsics) if streaming.refine else None
        """None also after `load_state_dict`: what came before is not in a checkpoint."""
        self.waiting: deque[WaitingFrame] = deque()
        self.num_pushed = self.num_registered = 0

    @property
    def should_restart(self) -> bool:
        """Whether the camera was lost for so long that a new segment should take over."""
        return self.monitor.must_reinitialise

    def state_dict(self) -> dict[str, Any]:
        """Everything but the settings and the map on disk, as tensors (not copied) and plain values."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {
            "number": self.number,
            "name": self.name,
            "first_frame": self.first_frame,
            "intrinsics": self.intrinsics,
            "num_pushed": self.num_pushed,
            "num_registered": self.num_registered,
            "last_founding": self._decisions.last_founding,
            "waiting": [
                [item.number, item.name, item.timestamp, item.original_from_network.tolist(), list(item.original_size)]
                for item in self.waiting
            ],
            **parts,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Bring a new segment, of the same number, name, first frame and intrinsics, to where `state_dict` was taken.

        A map on disk may be ahead of it: frames that will come again are removed from it.
        """
        self.num_pushed, self.num_registered = state["num_pushed"], state["num_registered"]
        self._decisions.last_founding = state["last_founding"]
        self.refinement_input = None
        now = time.perf_counter()
        for number, name, timestamp, affine, (height, width) in state["waiting"]:
            matrix = torch.tensor(affine, dtype=torch.float64)
            self.waiting.append(WaitingFrame(number, name, timestamp, matrix, (height, width), now))
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        if self.disk is not None:
            self.disk.remove_from(self.first_frame + self.num_pushed - len(self.waiting))

    def _parts(self) -> dict[str, _Stateful]:
        return {
            "reconstructor": self.reconstructor,
            "monitor": self.monitor,
            "controller": self.controller,
            "motion": self.motion,
            "map": self.map,
        }

    def feed(self, frames: Sequence[PreparedFrame], waiting: Sequence[WaitingFrame]) -> Iterator[FrameUpdate]:
        """Take frames, with what the session knows of each; yields the answer to every frame that is finished by now,
        as soon as it is."""
        timer = self.reconstructor.timer
        with timer("motion"):
            for frame in frames:
                self.controller.observe(self.motion.measure(frame.image))
        self.waiting.extend(waiting)
        for index, frame in enumerate(frames, self.num_pushed):
            if self.refinement_input is not None and frame.picture is not None:
                self.refinement_input.keep(index, frame.picture)
        self.num_pushed += len(frames)
        images = torch.stack([frame.image for frame in frames])
        names, times = [item.name for item in waiting], [item.timestamp for item in waiting]
        for registered in self.reconstructor.feed(images, times, names):
            yield self._answer(registered)
        self._adapt_stride()

    def finish(self) -> Iterator[FrameUpdate]:
        """End the segment; yields answers to all frames that still wait. Without a founded world they are rejected."""
        try:
            for frame in self.reconstructor.drain() if self.num_pushed else ():
                yield self._answer(frame)
        except SequenceTooShort as error:
            while self.waiting:
                yield self._reject(str(error))
        self.commit()

    def commit(self) -> None:
        """Commit the map on disk."""
        self._write_disk(None, 0)

    def summary(self, ended_by: str) -> SegmentSummary:
        """Summary of the segment, for the statistics."""
        return SegmentSummary(
            self.number,
            self.name,
            self.first_frame,
            self.num_pushed,
            self.num_registered,
            self.reconstructor.stride,
            self.monitor.losses,
            self.monitor.relocalisations,
            ended_by,
        )

    def _answer(self, frame: RegisteredFrame) -> FrameUpdate:
        item = self.waiting.popleft()
        state = self.monitor.observe(frame, frame.index <= self._decisions.last_founding)
        self.num_registered += 1
        delta = None
        # Frames of the initial window define the world, even without a consistent pose.
        if state is TrackingState.INITIALISING or (state is not TrackingState.LOST and self.monitor.is_good(frame)):
            delta = self._add_to_map(frame)
        self._keep_for_refinement(frame, state)
        return FrameUpdate(
            number=item.number,
            name=item.name,
            timestamp=item.timestamp,
            segment=self.number,
            state=state,
            frame=frame,
            intrinsics=intrinsics_to_original(frame.intrinsics.double(), item.original_from_network),
            original_size=item.original_size,
            references=self._decisions.references if frame.has_pointmap else (),
            map_delta=delta,
            latency=time.perf_counter() - item.arrival,
        )

    def _reject(self, reason: str) -> FrameUpdate:
        item = self.waiting.popleft()
        return FrameUpdate(
            number=item.number,
            name=item.name,
            timestamp=item.timestamp,
            segment=self.number,
            state=TrackingState.INITIALISING,
            frame=None,
            reason=reason,
            original_size=item.original_size,
            latency=time.perf_counter() - item.arrival,
        )

    def _keep_for_refinement(self, frame: RegisteredFrame, state: TrackingState) -> None:
        if self.refinement_input is None:
            return
        if frame.camera_to_world is None or state is TrackingState.LOST:
            self.refinement_input.drop(frame.index)
        else:
            self.refinement_input.add(frame)

    def _add_to_map(self, frame: RegisteredFrame) -> MapDelta:
        with self.reconstructor.timer("map"):
            delta = self.map.add(frame)
        self._write_disk(delta, self.first_frame + frame.index)
        return delta

    def _write_disk(self, delta: MapDelta | None, number: int) -> None:
        """Append a frame's new voxels, or commit. A full disk ends the map on disk, not the session."""
        if self.disk is None:
            return
        try:
            with self.reconstructor.timer("map on disk"):
                if delta is None:
                    self.disk.commit()
                else:
                    new = delta.new
                    self.disk.append(delta.points[new], delta.colors[new], delta.confidence[new], number)
        except OSError as error:
            logger.error("map on disk %s: %s; it ends here, the session continues", self.disk.folder, error)
            self.disk = None

    def _adapt_stride(self) -> None:
        stride = self.reconstructor.stride
        # Keyframes chosen by their motion are apart by the same amount of it already.
        if stride is None or self.num_registered == 0 or self.settings.reconstruction.between.is_on:
            return
        if self.controller.target is None:
            self.controller.found(stride)
        # The image of a lost camera is no evidence of its motion (a covered lens seems to stand still).
        if self.monitor.state is TrackingState.TRACKING:
            self.reconstructor.change_stride(self.controller.propose(stride))
