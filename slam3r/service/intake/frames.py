"""A frame as it comes from the broker: what its headers say, and its pixels. Faulty frames are `PoisonFrame`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from common.data.sources.images import ImageReadError, decode_image
from slam3r.live.frame_preparer import FramePreparer, PreparedFrame
from slam3r.service.broker.transport import UNDECODABLE
from slam3r.service.frame_key import FrameKey
from slam3r.service.settings import IntakeSettings
from slam3r.service.wire.names import check_name

FORMATS = ("JPEG", "PNG", "WEBP")
DEFAULT_STREAM = DEFAULT_SEGMENT = "default"
RESTART_BYTES = 4096
"""Size of a message on the restart exchange, at most."""


class PoisonFrame(ValueError):
    """A frame that can never be used; the message is the reason, for the dead-letter queue."""


class Delivery(Protocol):
    """One delivery of a message (of aio-pika), which is to be acknowledged."""

    body: bytes

    @property
    def headers(self) -> Mapping[str, Any]:
        """Headers of the message."""

    async def ack(self, multiple: bool = False) -> None:
        """Tell the broker that the message is done with."""


@dataclass(frozen=True)
class IncomingFrame:
    """A frame of which only the headers were read."""

    key: FrameKey
    delivery: Delivery
    received: float
    """`time.monotonic` when it came."""


@dataclass(frozen=True)
class DecodedFrame:
    """A frame as the networks take it."""

    incoming: IncomingFrame
    prepared: PreparedFrame


def read_key(headers: Mapping[str, Any] | None) -> FrameKey:
    """Read a frame's key from ``timestamp_ns``, ``video_segment`` and ``stream_id``; the last two are optional.

    Raises:
        PoisonFrame: a header is missing or faulty.
    """
    headers = headers or {}
    if UNDECODABLE in headers:
        raise PoisonFrame(f"the properties of the message cannot be decoded: {headers[UNDECODABLE]}")
    stamp = _text(headers.get("timestamp_ns"))
    if stamp is None:
        raise PoisonFrame("the header timestamp_ns is missing")
    try:
        timestamp = int(stamp)
    except (ValueError, TypeError):
        raise PoisonFrame(f"the header timestamp_ns is not a whole number: {str(stamp)[:40]!r}") from None
    if not -(2**63) <= timestamp < 2**63:
        raise PoisonFrame("the header timestamp_ns has more than 64 bits")
    stream = _name("stream_id", headers, DEFAULT_STREAM)
    return FrameKey(stream, _name("video_segment", headers, DEFAULT_SEGMENT), timestamp)


def decode_frame(frame: IncomingFrame, prepare: FramePreparer, settings: IntakeSettings) -> DecodedFrame:
    """Decode the pixels of a frame. The content decides what kind of image it is, not the content type in the headers.

    Raises:
        PoisonFrame: empty, too large, truncated, or no image of a known kind.
    """
    body = frame.delivery.body
    if not body:
        raise PoisonFrame("the frame has zero bytes")
    if len(body) > settings.max_frame_bytes:
        raise PoisonFrame(f"the frame has {len(body)} bytes, {settings.max_frame_bytes} are the limit")
    try:
        image = decode_image(body, FORMATS, settings.max_pixels)
    except ImageReadError as error:
        raise PoisonFrame(f"the image cannot be read: {error.reason}"[:500]) from error
    try:
        return DecodedFrame(frame, prepare(image))
    except ValueError as error:  # not a picture of the calibrated camera
        raise PoisonFrame(str(error)[:500]) from error


def read_restart(body: bytes) -> str | None:
    """Read a message of the restart exchange: the stream to begin anew, or None (an empty body) for all streams.

    Raises:
        ValueError: the body is neither empty nor JSON with a ``stream_id`` that is a name.
    """
    if not body:
        return None
    problem = "expected an empty body, or JSON with the name of a stream as stream_id"
    if len(body) > RESTART_BYTES:
        raise ValueError(problem)
    try:
        value = json.loads(body)["stream_id"]
        if value is None:
            raise ValueError(problem)
        return _name("stream_id", {"stream_id": value}, DEFAULT_STREAM)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(problem) from None


def _name(header: str, headers: Mapping[str, Any], default: str) -> str:
    value = _text(headers.get(header))
    if value is None:
        return default
    try:
        return check_name(str(value))
    except ValueError as error:
        raise PoisonFrame(f"the header {header} is no name: {error}") from None


def _text(value: Any) -> str | int | None:
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise PoisonFrame("a header is not UTF-8") from None
    if isinstance(value, bool) or (value is not None and not isinstance(value, (str, int))):
        raise PoisonFrame(f"a header is of type {type(value).__name__}, text or a whole number is expected")
    return value
