"""Counters and measurements of the service, in Prometheus format."""

from __future__ import annotations

from collections.abc import Callable

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One registry per worker; nothing is global."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"slam3r_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"slam3r_{name}", text, registry=registry)

        self.received = counter("frames_received", "Deliveries of frames")
        self.published = counter("frames_published", "Frames whose result the broker has confirmed")
        self.dropped = counter("frames_dropped", "Frames dropped on purpose", "reason")
        self.duplicates = counter("frames_duplicate", "Deliveries of frames that were known already")
        self.backwards = counter("clock_backwards", "Frames older than the one before")
        self.retries = counter("publish_retries", "Messages sent again: connection lost, or a queue full")
        self.refused = counter("publish_refused", "Messages that a full queue refused again and again", "exchange")
        self.unpublished = counter("results_unpublished", "Messages that can never be encoded or published")
        self.connections = counter("broker_connections", "Connections made to the broker")
        self.segments = counter("segments_closed", "Worlds that ended", "reason")
        self.saves_failed = counter("segment_saves_failed", "Attempts to write a segment that failed")
        self.mesh_restarts = counter("mesh_restarts", "Mesh processes that had to be replaced")
        self.mesh_skipped = counter("mesh_frames_skipped", "Keyframes that found no free slot of shared memory")
        self.mesh_given_up = counter("mesh_given_up", "Worlds that waited for a mesh process in vain")
        self.latency = Histogram(
            "slam3r_frame_latency_seconds",
            "From the delivery of a frame to the confirmation of its result",
            buckets=_SECONDS,
            registry=registry,
        )
        self.inference = Histogram(
            "slam3r_inference_seconds", "One push of a batch", buckets=_SECONDS, registry=registry
        )
        self.queue_depth = gauge("queue_depth", "Frames that wait in this worker")
        self.open_frames = gauge("frames_open", "Frames delivered and not acknowledged")
        self.unconfirmed = gauge("messages_unconfirmed", "Messages that the broker has not answered yet")
        self.streams = gauge("streams", "Streams with a session")
        self.points = gauge("points", "Points in the maps of the open worlds")
        self.connected = gauge("broker_connected", "1 while there is a connection")
        memory = gauge("resident_memory_bytes", "Resident memory of this process")
        memory.set_function(_resident)

    def observe(self, value: Gauge, read: Callable[[], float]) -> None:
        """Read a gauge when it is asked for."""
        value.set_function(read)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)


def _resident() -> float:
    return float(psutil.Process().memory_info().rss)
