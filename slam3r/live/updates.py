"""Answers of a live session, and its closed segments."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slam3r.live.refining.segment_input import SegmentInput
from slam3r.live.scene_map import MapDelta, SceneMap
from slam3r.live.tracking import TrackingState
from slam3r.reconstruction.frames import RegisteredFrame


@dataclass(frozen=True)
class FrameUpdate:
    """The answer to one frame. Every frame that was pushed gets exactly one, in the order of pushing."""

    number: int
    """Number of the frame in the session, from 0 and across segments."""
    name: str
    timestamp: float
    """Seconds, as pushed."""
    segment: int
    """Number of the segment. Every segment has a world of its own: coordinates of two are not comparable."""
    state: TrackingState
    """State after this frame."""
    frame: RegisteredFrame | None
    """Its `index` counts within the segment. None if the segment ended before its world was founded."""
    reason: str | None = None
    """Reason why there is no registered frame."""
    intrinsics: Tensor | None = None
    """(3, 3) float64 in pixels of the original picture (undistorted, with a calibration); None where `frame` is."""
    original_size: tuple[int, int] = (0, 0)
    """(height, width) of the original picture."""
    references: tuple[int, ...] = ()
    """Frames of the segment that the frame was registered with, best first where retrieval chose them."""
    map_delta: MapDelta | None = None
    """Changes of the segment's map; None if the frame was not integrated: while lost, or with low confidence."""
    latency: float = 0.0
    """Seconds from push to here."""

    @property
    def trusted(self) -> bool:
        """Whether there is a pose, and the camera is not lost."""
        return (
            self.frame is not None and self.frame.camera_to_world is not None and self.state is not TrackingState.LOST
        )


@dataclass(frozen=True)
class SegmentSummary:
    """A closed segment, without its map."""

    number: int
    name: str
    first_frame: int
    """Number of its first frame in the session."""
    num_frames: int
    """Frames pushed."""
    num_registered: int
    stride: int | None
    """Stride at the end; None if it was never found."""
    losses: int
    relocalisations: int
    ended_by: str
    """`new segment`, `lost` or `flush`."""


@dataclass(frozen=True)
class FinishedSegment:
    """A closed segment with its map; handed out once, and not kept."""

    summary: SegmentSummary
    map: SceneMap
    refinement_input: SegmentInput | None = None
    """Pictures and predictions (`StreamingSettings.refine`); None where they are not kept, and after a restart, which
    does not keep them."""
