"""Settings and workload of the speed profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.configuration import GivenText
from common.ranges import Count, Pixels, Positive, Threads
from slam3r.models.description import Slam3rDescription
from slam3r.reconstruction.settings import ReconstructionSettings


@dataclass(frozen=True)
class Workload:
    """Workload of each stage; the defaults are those of the published figures."""

    image_size: Pixels = 224
    """Pixels a side of the networks' images."""
    encode_batches: tuple[Count, ...] = (1, 4, 10)
    """Frames encoded at once."""
    window: Count = 11
    """Views of an I2P window."""
    candidates: Count = 40
    """Frames that retrieval chooses from."""
    queries: tuple[Count, ...] = (1, 5)
    """Query frames at once; half of a round."""
    references: Count = 10
    """Registered frames of an L2W round."""
    sources: Count = 10
    """Frames to register in an L2W round."""
    frames: Count = 40
    """Frames of the pipeline."""
    stride: Count = 5
    """Keyframe stride of the pipeline."""
    presets: tuple[str, ...] = ("default", "fast")
    """Files of ``configs/reconstruction`` whose operations are counted, for the pipeline's frames and stride."""
    flat_at: tuple[Count, ...] = (50, 500)
    """Frames at which speed and memory are compared."""
    flat_span: Count = 30
    """Frames timed at each."""
    buffer_sizes: tuple[Count, ...] = (40, 100)
    """Buffering sets with which they are compared. A set that is still filling between the two is still slowing."""
    repeats: Count = 3
    """Timed runs of each stage after a warm-up; the pipeline runs once."""

    def pipeline_settings(self, buffer_size: int = ReconstructionSettings.buffer_size) -> ReconstructionSettings:
        """Fixed stride, and no confidence gate on the initial window, as random weights have low confidence."""
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
    "peak", "encode", "i2p", "retrieval", "l2w", "pipeline", "flatness", "precision", "operations", "rasterizer",
    "service", "scoring",
]  # fmt: skip
DEFAULT_STAGES: tuple[Stage, ...] = (
    "peak", "encode", "i2p", "retrieval", "l2w", "pipeline", "flatness", "precision", "operations",
    "rasterizer",
)  # fmt: skip


LoadName = Literal["founding", "flat out", "sustained", "overload"]
SearchName = Literal["exhaustive", "coarse_to_fine"]


@dataclass(frozen=True)
class ServiceWorkload:
    """``service`` of ``configs/profile.yaml``."""

    url: str | None = None
    """URL of a RabbitMQ; null: on this machine. What is made there is removed again."""
    loads: tuple[LoadName, ...] = ("flat out", "sustained")
    """founding: until the world is founded, for the time to the first pose; flat out: as fast as frames are taken;
    sustained and overload: frames beyond are dropped."""
    stride_searches: tuple[SearchName, ...] = ()
    """Every load is run once for each of these ``reconstruction.stride_search``, in turn; none: the model's own."""
    seconds: Positive = 60.0
    """Measured seconds of each load, after the initialization."""
    frames_per_second: Positive | None = None
    """Capacity of the service; None takes the measurement of "flat out"."""
    sustained: tuple[Positive, ...] = (0.8,)
    """Shares of the capacity that are offered as "sustained", one after the other."""
    overload: Positive = 10.0
    """Multiple of the capacity that is offered as "overload"."""
    picture_size: tuple[Pixels, Pixels] = (480, 640)
    """(height, width) of the JPEGs."""
    image_size: Pixels = 224
    """Pixels a side of the networks' images."""
    mesh: bool = True
    """Run the mesh process as well."""
    threads: Threads | None = None
    """Processor threads of the worker; null: those of the run."""


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """``slam3r profile``: ``configs/profile.yaml``."""

    models: dict[str, Slam3rDescription] = field(metadata={"group": "model"})
    """Model of each size."""
    sizes: tuple[str, ...] = ("tiny", "large")
    """Sizes to measure, names of ``models``."""
    dtypes: tuple[DtypeName, ...] = ("float32", "bfloat16")
    """Types of the matrix products."""
    stages: tuple[Stage, ...] = DEFAULT_STAGES
    """Stages to measure. ``operations`` counts and measures nothing; ``rasterizer`` is Uni3R's and runs no network;
    ``scoring``, where asked for, the metrics of one Replica scene with 5 GB of temporary files; ``service``, where
    asked for, broker, worker and client with the models' own weights."""
    flatness_sizes: tuple[str, ...] = ("tiny",)
    """Sizes whose long video is timed: some 1000 frames."""
    output: GivenText = "results/profile.json"
    """File for every figure; the table is printed."""
    weights: Literal["random", "pretrained"] = "random"
    """``pretrained``: those that ``configs/model`` names."""
    quick: bool = False
    """Run everything once at a toy workload: shows that it works, measures nothing."""
    workload: Workload = field(default_factory=Workload)
    """Size of each stage; the defaults are those of the published figures."""
    service: ServiceWorkload = field(default_factory=ServiceWorkload)
    """Stage service: a stream of pictures to a worker of its own for each load."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Function of another package, by stage, that yields rows for (device, repeats, quick)."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""
    device: str = "auto"
    """auto, cuda, mps or cpu."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.sizes if name not in self.models]
        if unknown:
            raise ValueError(f"sizes: {', '.join(unknown)} not among {', '.join(self.models)}")
