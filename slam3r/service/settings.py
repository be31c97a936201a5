"""Settings of the live service: ``configs/serve.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.errors import InputError
from common.geometry.calibration import Calibration
from common.ranges import Bytes, Count, CountOrZero, Pixels, Threads
from slam3r.live.settings import LiveSettings, StreamingSettings
from slam3r.models.description import Slam3rDescription
from slam3r.reconstruction.settings import ReconstructionSettings
from slam3r.service.broker.address import check_address, public_address
from slam3r.service.wire.names import SHORT_STRING_BYTES

Policy = Literal["drop_oldest", "block"]

_LONGEST_SUFFIX = len(".layout") + 4
"""Bytes that the worker appends to the names of its queues."""


def _check_numbers(settings: object, **least: float) -> None:
    """Every number is at least so much, and greater than 0 where nothing is said."""
    for name, value in vars(settings).items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if name not in least and value <= 0:
            raise ValueError(f"{name} must be greater than 0, got {value}")
        if name in least and value < least[name]:
            raise ValueError(f"{name} must be at least {least[name]}, got {value}")


@dataclass(frozen=True)
class ExchangeNames:
    """Names on the broker."""

    frames: str = "video_frames_exchange"
    """Frames to reconstruct."""
    restart: str = "restart_exchange"
    """Requests to begin a new world."""
    pose: str = "slam3r_pose_exchange"
    """Pose of every frame."""
    points: str = "slam3r_pointcloud_exchange"
    """Points of every frame."""
    keyframe: str = "slam3r_keyframe_exchange"
    """Keyframes; a topic exchange with the key ``keyframe.<stream>``."""
    visualization: str = "slam3r_reconstruction_vis_exchange"
    """Meshes."""
    dead_letter: str = "slam3r_dead_letter_exchange"
    """Frames that can never be used."""


@dataclass(frozen=True)
class BrokerSettings:
    """The connection and what is declared on the broker."""

    url: str | None = field(default=None, repr=False)  # holds a password
    """``amqp://user:password@host/``, the only place for credentials, URL-encoded. TLS:
    ``amqps://user:password@host/?cafile=authority.pem``; without ``cafile`` the system's authorities are trusted."""
    host: str | None = None
    """Used where there is no url: the broker's own guest, which it admits from localhost."""
    heartbeat_seconds: CountOrZero = 30
    """A broker that is silent for two heartbeats counts as gone."""
    connect_timeout_seconds: float = 10.0
    """Seconds to wait for a connection."""
    confirm_seconds: float = 30.0
    """A result that the broker has not confirmed for so long makes the worker unhealthy. It is not sent again: that
    would double it for all who have received it."""
    refused_attempts: Count = 3
    """Attempts to send a result that a full queue of some subscriber refuses. Every attempt reaches the queues that
    are not full, with the same message id."""
    check_seconds: float = 15.0
    """Time between checks that everything is still declared on the broker."""
    backoff_seconds: float = 0.5
    """Pause before connecting again; doubles up to the limit."""
    backoff_limit_seconds: float = 15.0
    """Longest pause before connecting again."""
    exchanges: ExchangeNames = field(default_factory=ExchangeNames)
    """Names of the exchanges; all durable, all fanout but ``keyframe``."""
    frame_queue: str = "slam3r_frames"
    """One queue or, with partitions, ``slam3r_frames.0``, ``.1``, ..."""
    dead_letter_queue: str = "slam3r_dead_letters"
    """Frames that can never be used, with the header ``reason``."""
    dead_letter_limit: Count = 1000
    """Dead letters that are kept, the newest ones."""
    dead_letter_bytes: Bytes = 256 << 20
    """Bytes of dead letters that are kept."""
    partitions: Count = 1
    """Queues that streams are spread over by stream_id; more than one needs the broker's plugin
    rabbitmq_consistent_hash_exchange."""
    consume: list[int] | None = None
    """Partitions of this worker, such as [0, 2]; null: all. The first worker of a partition is active,
    the others stand by."""
    queue_limit_frames: Count = 3000
    """Frames on the broker per queue: beyond them the policy drop_oldest drops the oldest frame, and block refuses new
    ones, so that their publisher waits."""
    queue_limit_bytes: Bytes = 2 << 30
    """Bytes on the broker per queue, as for frames."""
    compress: bool = True
    """Compress results with zstd."""

    def __post_init__(self) -> None:
        _check_numbers(self, heartbeat_seconds=0, backoff_limit_seconds=self.backoff_seconds)
        if any(not 0 <= number < self.partitions for number in self.consume or []):
            raise ValueError(f"consume names partitions 0 to {self.partitions - 1}, got {self.consume}")
        for name in (self.frame_queue, self.dead_letter_queue, *vars(self.exchanges).values()):
            if not 0 < len(name.encode()) <= SHORT_STRING_BYTES - _LONGEST_SUFFIX:
                limit = SHORT_STRING_BYTES - _LONGEST_SUFFIX
                raise ValueError(f"names on the broker have 1 to {limit} bytes, got {len(name.encode())}")

    @property
    def address(self) -> str:
        """The URL to connect to, with its credentials.

        Raises:
            InputError: the URL is malformed, or names a certificate that does not exist.
        """
        return check_address(self.url or f"amqp://{self.host or 'localhost'}/")

    @property
    def public_address(self) -> str:
        """The URL without credentials, for logs."""
        return public_address(self.address)


@dataclass(frozen=True)
class IntakeSettings:
    """Limits on incoming frames, and behaviour under overload."""

    policy: Policy = "drop_oldest"
    """drop_oldest for live video: the newest frames matter; block for recorded video: every frame matters."""
    pending_frames: Count = 32
    """Frames that wait in the worker with drop_oldest."""
    prefetch: Count = 160
    """Deliveries without an acknowledgement; frames in the making count."""
    max_streams: Count = 1
    """Streams at once; one more ends the world of the stream that was idle longest."""
    max_frame_bytes: Bytes = 16 << 20
    """Larger frames go to the dead-letter queue."""
    max_pixels: Count = 50_000_000
    """Frames of more pixels go to the dead-letter queue."""
    decode_threads: Count = 2
    """Threads that decode frames."""
    decode_ahead: Count = 8
    """Frames decoded ahead."""
    batch: Count = 4
    """Frames given to the networks at once, if that many are waiting."""
    remembered_frames: Count = 20_000
    """Frames that are recognised when they are delivered again."""
    fatal_attempts: Count = 3
    """Times that a worker may die with a frame in its hands before the frame goes to the dead-letter queue."""

    def __post_init__(self) -> None:
        _check_numbers(self)

    def check_prefetch(self, live: LiveSettings) -> None:
        """Frames stay unacknowledged until they are registered; with fewer deliveries all would wait for ever.

        Raises:
            InputError: with the number that is needed.
        """
        on_their_way = self.batch + self.decode_ahead + (self.pending_frames if self.policy == "drop_oldest" else 0)
        needed = live.largest_delay * self.max_streams + on_their_way
        if self.prefetch < needed:
            raise InputError(
                f"intake.prefetch is {self.prefetch}, {needed} are needed: {self.max_streams} streams hold up to "
                f"{live.largest_delay} frames each until they are registered, and {on_their_way} are on their way"
            )


@dataclass(frozen=True)
class MeshSettings:
    """The mesh process. Lengths are in units of the world, whose points are about one from the camera."""

    enabled: bool = True
    """Make meshes."""
    voxel: float = 0.02
    """Edge of a voxel."""
    truncation: float = 0.08
    """Truncation of the signed distances."""
    depth_limit: float = 6.0
    """Pixels farther away are left out."""
    translation: float = 0.05
    """A frame is fused when the camera has moved this far since the last one,"""
    rotation_degrees: float = 5.0
    """or turned this far,"""
    max_skipped: CountOrZero = 15
    """or after this many frames that were left out."""
    update_seconds: float = 2.0
    """Shortest time between meshes; four times what the last one took, where that is more."""
    slots: Count = 8
    """Frames in shared memory."""
    processes: Count | None = None
    """Mesh processes at most, about 450 MB each; None: one for each of `IntakeSettings.max_streams`. Worlds beyond
    that wait, as files of `replay_frames` frames."""
    waiting_worlds: Count = 16
    """Worlds that wait for a mesh process at most; the oldest closed one is left without a mesh when there are more."""
    replay_frames: Count = 64
    """Frames kept on disk for a world that waits, or whose mesh process dies."""
    memory_limit_mb: Count = 4096
    """Memory of a mesh process; beyond it the mesh stops growing."""
    finish_timeout_seconds: float = 60.0
    """Seconds to wait for the last mesh of a segment."""

    def __post_init__(self) -> None:
        _check_numbers(self, translation=0, rotation_degrees=0, max_skipped=0, update_seconds=0)


@dataclass(frozen=True)
class SegmentSettings:
    """Segments on disk, and what a restarted worker finds again."""

    save: bool = False
    """Write points, mesh and trajectory of every closed segment."""
    folder: str = "outputs/segments"
    """Folder for the segments."""
    state: str = "outputs/service_state"
    """State for the next worker; one folder per worker; empty: none."""
    points_per_frame: Count = 4000
    """Points published per frame at most."""
    idle_seconds: float = 60.0
    """A stream without frames for this long has its segment closed."""
    retry_seconds: float = 30.0
    """Seconds between attempts to save on a full disk."""
    max_unsaved: CountOrZero = 2
    """Segments kept in memory for these attempts; the oldest is given up."""
    checkpoint_seconds: float = 30.0
    """Seconds between checkpoints of the sessions; 0: none, and a stop ends every segment."""
    drain_seconds: float = 20.0
    """Seconds to finish frames at hand when stopped."""

    def __post_init__(self) -> None:
        _check_numbers(self, max_unsaved=0, checkpoint_seconds=0, drain_seconds=0)


@dataclass(frozen=True)
class HttpSettings:
    """Health and metrics."""

    enabled: bool = True
    """Serve health and metrics."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines read health and metrics."""
    port: CountOrZero = 8090
    """Port to listen on."""
    stall_seconds: float = 60.0
    """Frames that wait this long without progress make the worker unhealthy."""

    def __post_init__(self) -> None:
        _check_numbers(self, port=0)
        if self.port > 65535:
            raise ValueError(f"port must be at most 65535, got {self.port}")


@dataclass(frozen=True)
class ServiceSettings:
    """The service without the model."""

    broker: BrokerSettings = field(default_factory=BrokerSettings)
    """Connection to RabbitMQ, and what is declared there."""
    intake: IntakeSettings = field(default_factory=IntakeSettings)
    """Limits on incoming frames, and behaviour under overload."""
    mesh: MeshSettings = field(default_factory=MeshSettings)
    """The mesh process. Lengths are in units of the world, whose points are about 1 from the first camera."""
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    """Segments on disk, and what a restarted worker finds again."""
    http: HttpSettings = field(default_factory=HttpSettings)
    """Health and metrics over HTTP."""


@dataclass(frozen=True, kw_only=True)
class ServeConfiguration:
    """``slam3r serve``: ``configs/serve.yaml``."""

    model: Slam3rDescription = field(metadata={"group": "model"})
    """Model to run: slam3r_tiny or slam3r_large."""
    reconstruction: ReconstructionSettings = field(metadata={"group": "reconstruction"})
    """Settings of the reconstruction."""
    streaming: StreamingSettings = field(metadata={"group": "streaming"})
    """Tracking, stride and map of a session."""
    camera: Calibration | None = field(default=None, metadata={"group": "camera"})
    """Calibration of the cameras (a file of ``configs/camera``); null: estimated."""
    service: ServiceSettings = field(default_factory=ServiceSettings)
    """Broker, intake, mesh, segments and health."""
    size: tuple[Pixels, Pixels] = (224, 224)
    """Height and width of the networks' images, multiples of 16."""
    device: str = "auto"
    """auto, cuda, mps or cpu."""
    dtype: str = "auto"
    """Type of the matrix products: auto, float32 or bfloat16."""
    threads: Threads | None = None
    """Processor threads; null: torch's choice."""
    structured_logs: bool = True
    """One JSON object per line; false: plain lines."""
