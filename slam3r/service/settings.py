"""Every knob of the service. The values, each with its meaning, are in ``configs/serve.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

from common.errors import InputError
from common.geometry.calibration import Calibration
from slam3r.live.settings import LiveSettings, StreamingSettings
from slam3r.models.description import ModelConfig
from slam3r.reconstruction.settings import ReconstructionSettings

Policy = Literal["drop_oldest", "block"]


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
    restart: str = "restart_exchange"
    pose: str = "slam3r_pose_exchange"
    points: str = "slam3r_pointcloud_exchange"
    keyframe: str = "slam3r_keyframe_exchange"
    visualization: str = "slam3r_reconstruction_vis_exchange"
    dead_letter: str = "slam3r_dead_letter_exchange"


@dataclass(frozen=True)
class BrokerSettings:
    """The connection and what is declared on the broker."""

    url: str | None = None
    host: str | None = None
    heartbeat_seconds: int = 30
    connect_timeout_seconds: float = 10.0
    publish_timeout_seconds: float = 30.0
    backoff_seconds: float = 0.5
    backoff_limit_seconds: float = 15.0
    exchanges: ExchangeNames = field(default_factory=ExchangeNames)
    frame_queue: str = "slam3r_frames"
    dead_letter_queue: str = "slam3r_dead_letters"
    dead_letter_limit: int = 1000
    dead_letter_bytes: int = 256 << 20
    partitions: int = 1
    consume: list[int] | None = None
    queue_limit_frames: int = 3000
    queue_limit_bytes: int = 2 << 30
    compress: bool = True

    def __post_init__(self) -> None:
        _check_numbers(self, heartbeat_seconds=0, backoff_limit_seconds=self.backoff_seconds)
        if any(not 0 <= number < self.partitions for number in self.consume or []):
            raise ValueError(f"consume names partitions 0 to {self.partitions - 1}, got {self.consume}")

    @property
    def address(self) -> str:
        """The URL to connect to, with its credentials.

        Raises:
            InputError: the URL is not one of AMQP, or names a certificate that is not there.
        """
        url = self.url or f"amqp://{self.host or 'localhost'}/"
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps"):
            raise InputError("broker.url (or RABBITMQ_URL) must begin with amqp:// or amqps://")
        for name in ("cafile", "certfile", "keyfile"):
            for path in parse_qs(parts.query).get(name, ()):
                if not Path(path).is_file():
                    raise InputError(f"broker.url (or RABBITMQ_URL): {name} {path} does not exist")
        return url

    @property
    def public_address(self) -> str:
        """The URL without credentials, for logs."""
        parts = urlsplit(self.address)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@dataclass(frozen=True)
class IntakeSettings:
    """What is taken in, and what happens when it is too much."""

    policy: Policy = "drop_oldest"
    pending_frames: int = 32
    prefetch: int = 160
    max_streams: int = 1
    max_frame_bytes: int = 16 << 20
    max_pixels: int = 50_000_000
    decode_threads: int = 2
    decode_ahead: int = 8
    batch: int = 4
    remembered_frames: int = 20_000

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
    voxel: float = 0.02
    truncation: float = 0.08
    depth_limit: float = 6.0
    translation: float = 0.05
    rotation_degrees: float = 5.0
    max_skipped: int = 15
    update_seconds: float = 2.0
    slots: int = 8
    replay_frames: int = 64
    memory_limit_mb: int = 4096
    finish_timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        _check_numbers(self, translation=0, rotation_degrees=0, max_skipped=0, update_seconds=0)


@dataclass(frozen=True)
class SegmentSettings:
    """Segments on disk, and what a restarted worker finds again."""

    save: bool = False
    folder: str = "outputs/segments"
    state: str = "outputs/service_state"
    points_per_frame: int = 4000
    idle_seconds: float = 60.0
    retry_seconds: float = 30.0
    max_unsaved: int = 2
    checkpoint_seconds: float = 30.0
    drain_seconds: float = 20.0

    def __post_init__(self) -> None:
        _check_numbers(self, max_unsaved=0, checkpoint_seconds=0, drain_seconds=0)


@dataclass(frozen=True)
class HttpSettings:
    """Health and metrics."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8090
    stall_seconds: float = 60.0

    def __post_init__(self) -> None:
        _check_numbers(self, port=0)
        if self.port > 65535:
            raise ValueError(f"port must be at most 65535, got {self.port}")


@dataclass(frozen=True)
class ServiceSettings:
    """The service without the model."""

    broker: BrokerSettings = field(default_factory=BrokerSettings)
    intake: IntakeSettings = field(default_factory=IntakeSettings)
    mesh: MeshSettings = field(default_factory=MeshSettings)
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    http: HttpSettings = field(default_factory=HttpSettings)


@dataclass(frozen=True)
class ServeConfiguration:
    """``configs/serve.yaml``."""

    model: ModelConfig
    reconstruction: ReconstructionSettings
    streaming: StreamingSettings
    service: ServiceSettings
    size: tuple[int, int]
    device: str
    dtype: str
    threads: int | None
    structured_logs: bool
    camera: Calibration | None = None
