"""Settings of the speed profile, and how much work it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from slam3r.models.description import ModelConfig
from slam3r.reconstruction.settings import ReconstructionSettings


@dataclass(frozen=True)
class Workload:
    """How much of everything; the defaults are those of the published figures."""

    image_size: int = 224
    encode_batches: tuple[int, ...] = (1, 4, 10)
    window: int = 11
    """Views of an I2P window."""
    candidates: int = 40
    queries: tuple[int, ...] = (1, 5)
    """Frames that ask at once; half of a round."""
    references: int = 10
    sources: int = 10
    frames: int = 40
    """Of the pipeline."""
    stride: int = 5
    flat_at: tuple[int, ...] = (50, 500)
    """Frames at which speed and memory are compared."""
    flat_span: int = 30
    """Frames timed at each."""
    buffer_sizes: tuple[int, ...] = (40, 100)
    """Buffering sets with which they are compared. A set that is still filling between the two is still slowing."""
    repeats: int = 3

    def pipeline_settings(self, buffer_size: int = ReconstructionSettings.buffer_size) -> ReconstructionSettings:
        """Fixed stride, and no confidence gate on the initial window, as random weights are never sure."""
        return ReconstructionSettings(
            keyframe_stride=self.stride,
            initial_confidence=0.0,
            window_radius=(self.window - 1) // 2,
            num_scene_frames=self.references,
            max_frames_per_round=self.sources,
            buffer_size=buffer_size,
        )


DtypeName = Literal["float32", "bfloat16"]


Stage = Literal[
    "peak", "encode", "i2p", "retrieval", "l2w", "pipeline", "flatness", "precision", "rasterizer", "service", "scoring"
]


LoadName = Literal["flat out", "sustained", "overload"]


@dataclass(frozen=True)
class ServiceWorkload:
    """``service`` of ``configs/profile.yaml``."""

    url: str | None = None
    """Of the broker; None: on this machine."""
    loads: tuple[LoadName, ...] = ("flat out", "sustained")
    seconds: float = 60.0
    """Of each load, after its world was founded."""
    frames_per_second: float | None = None
    """What the service takes; None: what "flat out" has measured."""
    sustained: float = 0.8
    """Share of it that is offered as "sustained"."""
    overload: float = 10.0
    """Times of it that are offered as "overload"."""
    picture_size: tuple[int, int] = (480, 640)
    """(height, width) of the JPEGs."""
    image_size: int = 224
    """Of the networks' images."""
    mesh: bool = True
    """Let the mesh process run beside."""
    threads: int | None = None
    """Of the worker; None: torch's choice."""

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.sustained <= 0 or self.overload <= 0:
            raise ValueError("seconds, sustained and overload must be positive")


@dataclass(frozen=True)
class ProfileSettings:
    """``configs/profile.yaml``."""

    models: dict[str, ModelConfig]
    sizes: tuple[str, ...]
    dtypes: tuple[DtypeName, ...]
    stages: tuple[Stage, ...]
    flatness_sizes: tuple[str, ...]
    output: str
    weights: Literal["random", "pretrained"] = "random"
    quick: bool = False
    workload: Workload = field(default_factory=Workload)
    service: ServiceWorkload = field(default_factory=ServiceWorkload)
    threads: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        unknown = [name for name in self.sizes if name not in self.models]
        if unknown:
            raise ValueError(f"sizes: {', '.join(unknown)} not among {', '.join(self.models)}")
