"""Settings of a live session; ``configs/streaming`` and ``configs/reconstruction/live.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import Field

from common.image_size import check_image_size
from common.ranges import Count, CountOrZero, Pixels, Positive, Share
from slam3r.reconstruction.settings import ReconstructionSettings

SEARCH_FRAMES = 61
"""First frames that the stride is searched on: strides up to 10 can be tried on 61."""
LARGEST_STRIDE = 10
FRAMES_PER_ROUND = 4


def for_live(settings: ReconstructionSettings) -> ReconstructionSettings:
    """Settings with what only a finished video can serve replaced: the search looks at the first frames, windows do
    not wait for frames of the future, and weak frames stay out of the references. What is set already stays."""
    return replace(
        settings,
        stride_search_frames=settings.stride_search_frames or SEARCH_FRAMES,
        stride_max=min(settings.stride_max, LARGEST_STRIDE),
        look_ahead=0 if settings.look_ahead is None else settings.look_ahead,
        max_frames_per_round=min(settings.max_frames_per_round, FRAMES_PER_ROUND),
        buffer_confidence=settings.buffer_confidence or settings.weak_confidence,
    )


@dataclass(frozen=True)
class TrackingSettings:
    """Criteria for losing and recovering tracking."""

    confidence: float | None = None
    """Mean registered confidence below which a frame counts as failed; None: the reconstruction's `weak_confidence`.
    A frame without a pose always failed. Frames between keyframes (``reconstruction.between``) do not count."""
    lost_after: Count = 5
    """Failed frames in a row that make the camera lost."""
    found_after: Count = 3
    """Good frames in a row that make it found again."""
    reinitialise_after: CountOrZero = 90
    """Frames of a loss after which a new segment begins; 0: never."""

    def __post_init__(self) -> None:
        for name in ("lost_after", "found_after"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.reinitialise_after < 0:
            raise ValueError(f"reinitialise_after must not be negative, got {self.reinitialise_after}")


@dataclass(frozen=True)
class StrideSettings:
    """Adaptation of the stride, within the search's bounds `stride_min` and `stride_max`. Where motion chooses the
    keyframes (``reconstruction.between``), nothing is left to adapt."""

    adapt: bool = True
    """Keep the motion between keyframes constant, not their distance."""
    smoothing: Count = 30
    """Frames over which motion is averaged."""
    interval: Count = 15
    """Frames between changes."""
    tolerance: Positive = 0.3
    """The motion between keyframes may be off by this share before the stride changes."""
    target_range: tuple[Share, Share] = (0.03, 0.25)
    """Bounds of the motion between keyframes, in image widths: a camera that stood still during the search is no
    evidence of the stride that is needed later."""

    def __post_init__(self) -> None:
        if self.smoothing < 1 or self.interval < 1 or not self.tolerance > 0:
            raise ValueError("smoothing and interval are at least 1, tolerance is positive")
        if not 0 < self.target_range[0] <= self.target_range[1]:
            raise ValueError(f"target_range is (smallest, largest), both positive, got {self.target_range}")


WAYS = 16
"""Places in a bucket."""
_MOST_POINTS = 2_000_000_000
"""88 GB: more is a slip of the finger, and would be allocated at once."""


@dataclass(frozen=True)
class MapSettings:
    """Settings of a `SceneMap`."""

    max_points: Count = 2_000_000
    """Points of the map, 44 bytes each, allocated at once."""
    voxel_size: Positive = 0.01
    """Edge of a voxel in the unit of the world, which is the mean distance of the first points."""
    confidence: float = 12.0
    """Points of strictly higher confidence are taken."""
    eviction: Literal["oldest", "weakest"] = "oldest"
    """Point that is evicted from a full bucket: the one seen longest ago, or the least confident."""

    def __post_init__(self) -> None:
        if not WAYS <= self.max_points <= _MOST_POINTS:
            raise ValueError(f"max_points must be from {WAYS} to {_MOST_POINTS}, got {self.max_points}")
        if not self.voxel_size > 0:
            raise ValueError(f"voxel_size must be positive, got {self.voxel_size}")
        if self.eviction not in ("oldest", "weakest"):
            raise ValueError(f"eviction is 'oldest' or 'weakest', got {self.eviction!r}")


@dataclass(frozen=True)
class ViewSettings:
    """Viewer of a live session."""

    viewer: Literal["auto", "rerun", "none"] = "auto"
    """auto: rerun if it is installed and the output is a terminal; rerun or none."""
    save_to: str | None = None
    """An .rrd file in place of a window."""


FramesToRefine = Annotated[int, Field(ge=2, le=10_000)]
"""Frames that are held in memory."""


@dataclass(frozen=True)
class StreamingSettings:
    """Settings of a live session besides the reconstruction; a file of ``configs/streaming``."""

    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    """Criteria for losing and recovering tracking."""
    stride: StrideSettings = field(default_factory=StrideSettings)
    """Adaptation of the keyframe stride."""
    map: MapSettings = field(default_factory=MapSettings)
    """The map of a segment."""
    calibrated_poses: bool = True
    """With a calibration, solve poses by PnP with its intrinsics, and by pointmaps only where that fails."""
    disk_map: str | None = None
    """Folder for maps on disk, one per segment, of all voxels as they are first seen; None for none."""
    refine: bool = False
    """Refine each segment when it ends, in a process beside the session (`common.refinement`): its folder is replaced
    where refinement wins, and its summary tells the verdict."""
    refine_frames: FramesToRefine = 300
    """Frames of a segment kept for that, spread evenly: 1.1 MB each in memory, and on disk while it waits."""
    refine_side: Pixels = 1024
    """Longer side of the gray pictures kept for that, at most."""
    remembered_segments: CountOrZero = 1000
    """Closed segments that the statistics list; only the list is bounded, the counts are not."""

    @property
    def side_to_keep(self) -> int | None:
        """Longer side of the pictures that are kept for refinement; None where it is off."""
        return self.refine_side if self.refine else None

    def __post_init__(self) -> None:
        if self.remembered_segments < 0:
            raise ValueError(f"remembered_segments must not be negative, got {self.remembered_segments}")


@dataclass(frozen=True)
class LiveSettings:
    """A live session."""

    reconstruction: ReconstructionSettings = field(default_factory=lambda: for_live(ReconstructionSettings()))
    """Settings of every segment; see `for_live`."""
    streaming: StreamingSettings = field(default_factory=StreamingSettings)
    size: tuple[int, int] = (224, 224)
    """(height, width) of the network images."""

    def __post_init__(self) -> None:
        check_image_size(self.size)
        if self.reconstruction.keyframe_stride == -1 and self.reconstruction.stride_search_frames is None:
            raise ValueError("a live session cannot search the stride on the whole sequence: give stride_search_frames")

    @property
    def largest_stride(self) -> int:
        """Largest stride of any frame of the session."""
        settings = self.reconstruction
        adapts = self.streaming.stride.adapt and not settings.between.is_on
        return max(settings.stride_max if adapts else 1, settings.keyframe_stride)

    @property
    def largest_delay(self) -> int:
        """Largest number of frames that wait for their update at once: during the stride search and the initialization.

        A queue in front of the session that waits for updates before it gives more frames must hold at least this many.
        """
        settings = self.reconstruction
        searches, between = settings.keyframe_stride == -1, settings.between
        first = settings.keyframe_stride if between.is_on and not searches else settings.stride_max
        founding = settings.initial_window * max(first, settings.keyframe_stride)
        search = settings.stride_search_frames or 0 if searches else 0
        largest = max(self.largest_stride, settings.stride_max if searches else 1)
        look_ahead = settings.window_radius * largest if settings.look_ahead is None else settings.look_ahead
        in_a_round = max(settings.max_frames_per_round, settings.min_frames_per_round)
        delay = max(search, founding) + look_ahead + in_a_round
        return delay * between.longest if between.is_on else delay
