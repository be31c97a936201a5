"""The identity of a frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrameKey:
    """Two frames with the same key are one frame."""

    stream_id: str
    segment: str
    timestamp_ns: int
