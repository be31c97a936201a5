"""Settings of the reconstruction; the defaults are the published values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from common.configuration import to_dataclass
from common.ranges import Count, CountOrZero, Seed
from slam3r.models.description import ModelConfidence
from slam3r.reconstruction.between.settings import BetweenSettings


@dataclass(frozen=True)
class ReconstructionSettings:
    """Hyper-parameters of the whole-scene reconstruction (SLAM3R, Liu, Dong et al. 2025, section 3.4 and code)."""

    between: BetweenSettings = field(default_factory=BetweenSettings)
    """Choice of the frames that go through the networks; all of them, as published, where it is off."""
    keyframe_stride: int = -1
    """Frames between keyframes, of those that go through the networks; -1 searches for the stride with the most
    confident windows."""
    stride_min: Count = 1
    """Smallest stride of the search, and of a live session."""
    stride_max: Count = 20
    """Largest stride of the search, and of a live session."""
    stride_step: Count = 1
    """Step of the search."""
    stride_search: Literal["exhaustive", "coarse_to_fine"] = "exhaustive"
    """exhaustive tries every stride with ten windows, as published; coarse_to_fine tries strides that double, then the
    gaps around the best, with four windows each: a world is founded sooner, maybe with another stride."""
    stride_search_frames: Count | None = None
    """Frames the stride search looks at: None waits for the end of the sequence (offline), a number searches as soon
    as this many frames are available (live)."""
    window_radius: Count = 5
    """Keyframes on either side of a frame in its I2P window."""
    initial_window: Count = 5
    """Keyframes of the initial window."""
    initial_confidence: float = ModelConfidence.initial
    """A window of more than three frames with a lower mean confidence is tried again with one frame less."""
    local_threshold: float = ModelConfidence.local
    """I2P confidence above which a point is used."""
    look_ahead: CountOrZero | None = None
    """Frames after a frame that its window may use; None is ``window_radius * stride``, the offline algorithm."""
    num_scene_frames: Count = 10
    """Buffered frames that serve as references of a registration."""
    max_frames_per_round: Count = 10
    """Largest number of frames registered together (never more than half a stride, rounded up)."""
    min_frames_per_round: Count = 1
    """Frames registered together where half a stride is fewer, those between the initial keyframes included: one
    retrieval and one pass over the references serve all of them, and they do not see each other."""
    retrieval_queries: Count | None = None
    """Frames of a round that ask for references, evenly spaced; null: every second one, as published."""
    normalize_input: bool = False
    """Normalize the references to unit scale before L2W, and rescale its output."""
    rigid_registration: bool = False
    """Keep the shape of a frame's local pointmap, and place it by a similarity. For small networks; not published."""
    rigid_neighbours: CountOrZero = 0
    """Number of preceding registered frames that vote on a frame's placement, besides L2W, through an additional I2P
    window. Used only with ``rigid_registration``."""
    rigid_tracks: bool = False
    """Also vote with corners tracked by optical flow from registered frames nearby."""
    track_reach: CountOrZero | None = None
    """Strides from which corners are tracked; null: ``rigid_neighbours``."""
    buffer_size: CountOrZero = 100
    """Frames in the buffering set; 0 keeps all."""
    buffer_strategy: Literal["reservoir", "fifo"] = "reservoir"
    """Frame that is replaced in a full buffering set: a random one (reservoir) or the oldest (fifo)."""
    buffer_interval: Count = 1
    """Strides between updates of the buffering set."""
    buffer_confidence: float = 0.0
    """Smallest mean registered confidence of frames in the buffering set; 0 admits all, as published. In live sessions
    it keeps frames without tracking (a covered lens, a cut) out of the references."""
    weak_confidence: float = ModelConfidence.weak
    """A frame with a lower mean registered confidence is reported as weak."""
    focal_frames: Count = 10
    """Largest number of frames from which the shared focal length is estimated."""
    pose_method: Literal["pnp", "pointmaps", "pnp_first"] = "pointmaps"
    """Poses from pixels and world points (``pnp``), or from pairs of local and world points (``pointmaps``: in closed
    form, robust, no focal length needed). ``pnp_first``, for calibrated cameras: pointmaps where PnP fails."""
    seed: Seed = 42
    """Seed of the random draws: stride windows, then the reservoir."""
    encode_batch: Count = 10
    """Frames encoded at once."""
    window_batch: Count = 4
    """I2P windows, head-frame registrations and retrieval queries decoded at once."""
    memory_chunk: Count | None = None
    """Memory views attended at once in the decoders; bounds memory, does not change results."""

    def __post_init__(self) -> None:
        if self.keyframe_stride != -1 and self.keyframe_stride < 1:
            raise ValueError(f"keyframe_stride is -1 (search) or at least 1, got {self.keyframe_stride}")
        if self.buffer_strategy not in ("reservoir", "fifo"):
            raise ValueError(f"buffer_strategy is 'reservoir' or 'fifo', got {self.buffer_strategy!r}")
        if self.pose_method not in ("pnp", "pointmaps", "pnp_first"):
            raise ValueError(f"pose_method is 'pnp', 'pointmaps' or 'pnp_first', got {self.pose_method!r}")
        if self.stride_max < self.stride_min:
            raise ValueError(f"stride_max must be at least stride_min={self.stride_min}, got {self.stride_max}")
        for name in ("stride_search_frames", "memory_chunk", "retrieval_queries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 or null, got {value}")
        for name in ("buffer_size", "rigid_neighbours", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.look_ahead is not None and self.look_ahead < 0:
            raise ValueError(f"look_ahead must not be negative, got {self.look_ahead}")
        if self.focal_frames < 1:
            raise ValueError(f"focal_frames must be at least 1, got {self.focal_frames}")
        for name in ("initial_window", "stride_min", "stride_step", "window_radius", "buffer_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        names = ("num_scene_frames", "max_frames_per_round", "min_frames_per_round", "encode_batch", "window_batch")
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.initial_window < 2:
            raise ValueError(f"initial_window must be at least 2, got {self.initial_window}")

    def frames_per_round(self, stride: int) -> int:
        """Frames registered together at a stride."""
        return max(self.min_frames_per_round, min((stride + 1) // 2, self.max_frames_per_round))

    @property
    def strides_tracked(self) -> int:
        """Strides from which corners are tracked; 0 where none are."""
        return 0 if not self.rigid_tracks else self.rigid_neighbours if self.track_reach is None else self.track_reach


def settings_for_model(
    confidence: ModelConfidence, own: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> ReconstructionSettings:
    """Combine a model's own settings with the user's, which take precedence.

    Args:
        confidence: thresholds of the model.
        own: the ``reconstruction`` block of the model's file.
        changes: the user's settings by name.

    Raises:
        ConfigurationError: an unknown key, or a value that does not fit.
    """
    thresholds = {
        "local_threshold": confidence.local,
        "initial_confidence": confidence.initial,
        "weak_confidence": confidence.weak,
    }
    return to_dataclass({**thresholds, **own, **(changes or {})}, ReconstructionSettings)
