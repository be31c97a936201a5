"""Every number of a live session; ``configs/streaming`` and ``configs/reconstruction/live.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from common.data.sources.preprocess import PATCH
from slam3r.live.scene_map import MapSettings
from slam3r.live.stride_control import StrideSettings
from slam3r.live.tracking import TrackingSettings
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
class StreamingSettings:
    """A file of ``configs/streaming``: what a live session has beside the reconstruction."""

    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    stride: StrideSettings = field(default_factory=StrideSettings)
    map: MapSettings = field(default_factory=MapSettings)
    calibrated_poses: bool = True
    """With a calibration, solve poses by PnP with its intrinsics, and by pointmaps only where that fails."""
    disk_map: str | None = None
    """Folder for maps on disk, one per segment, of all voxels as they are first seen; None for none."""
    remembered_segments: int = 1000
    """Closed segments that the statistics list; only the list is bounded, the counts are not."""


@dataclass(frozen=True)
class LiveSettings:
    """A live session."""

    reconstruction: ReconstructionSettings = field(default_factory=lambda: for_live(ReconstructionSettings()))
    """Of every segment; see `for_live`."""
    streaming: StreamingSettings = field(default_factory=StreamingSettings)
    size: tuple[int, int] = (224, 224)
    """(height, width) of the network images."""

    def __post_init__(self) -> None:
        if any(side < PATCH or side % PATCH for side in self.size):
            raise ValueError(f"size is made of multiples of {PATCH}, got {list(self.size)}")
        if self.reconstruction.keyframe_stride == -1 and self.reconstruction.stride_search_frames is None:
            raise ValueError("a live session cannot search the stride on the whole sequence: give stride_search_frames")

    @property
    def largest_stride(self) -> int:
        """Of any frame of the session."""
        settings = self.reconstruction
        return max(settings.stride_max if self.streaming.stride.adapt else 1, settings.keyframe_stride)

    @property
    def largest_delay(self) -> int:
        """Frames that may wait for their update at once, at most: while the stride is searched and the world founded.

        A queue in front of the session that waits for updates before it gives more frames must let so many through.
        """
        settings = self.reconstruction
        founding = settings.initial_window * max(settings.stride_max, settings.keyframe_stride)
        search = settings.stride_search_frames or 0 if settings.keyframe_stride == -1 else 0
        largest = max(self.largest_stride, settings.stride_max if settings.keyframe_stride == -1 else 1)
        look_ahead = settings.window_radius * largest if settings.look_ahead is None else settings.look_ahead
        return max(search, founding) + look_ahead + settings.max_frames_per_round
