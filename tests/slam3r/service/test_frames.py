"""Incoming frames: headers, pixels, the line in front of the networks, and idle streams."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image

pytest.importorskip("aio_pika", reason="needs the extra: service")

from slam3r.live.frame_preparer import FramePreparer
from slam3r.service.frame_key import FrameKey
from slam3r.service.intake.dead_letters import bounded_headers
from slam3r.service.intake.frames import IncomingFrame, PoisonFrame, decode_frame, read_key, read_restart
from slam3r.service.intake.idle import IdleWatch
from slam3r.service.intake.line import Intake, Restart
from slam3r.service.settings import IntakeSettings
from tests.support.deliveries import Message
from tests.support.service_worker import jpeg


def incoming(number: int, body: bytes = b"") -> IncomingFrame:
    return IncomingFrame(FrameKey("s", "a", number), Message(body), 0.0)


def test_a_frame_is_known_by_stream_segment_and_timestamp() -> None:
    assert read_key({"timestamp_ns": 5}) == FrameKey("default", "default", 5)
    assert read_key({"timestamp_ns": b"5", "video_segment": "b", "stream_id": 7}) == FrameKey("7", "b", 5)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"timestamp_ns": "noon"},
        {"timestamp_ns": 1.5},
        {"timestamp_ns": True},
        {"timestamp_ns": 1 << 70},
        {"timestamp_ns": 1, "video_segment": "x" * 129},
        {"timestamp_ns": 1, "video_segment": "\u00e9" * 65},
        {"timestamp_ns": 1, "stream_id": ""},
        {"timestamp_ns": 1, "video_segment": "a\nb"},
        {"timestamp_ns": 1, "stream_id": b"\xff"},
        {"timestamp_ns": 1, "stream_id": ["a"]},
    ],
)
def test_faulty_headers_are_poison(headers: dict) -> None:
    with pytest.raises(PoisonFrame):
        read_key(headers)


def _png(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_content_decides_what_an_image_is() -> None:
    settings, prepare = IntakeSettings(max_pixels=10_000, max_frame_bytes=100_000), FramePreparer((32, 32))
    assert decode_frame(incoming(0, jpeg(0)), prepare, settings).prepared.original_size == (48, 64)
    assert decode_frame(incoming(0, _png(20, 30)), prepare, settings).prepared.original_size == (20, 30)
    gif = io.BytesIO()
    Image.new("L", (9, 9)).save(gif, "GIF")
    for body, reason in (
        (b"", "zero bytes"),
        (bytes(200_000), "are the limit"),
        (_png(200, 200), "40000|200 x 200 pixels"),
        (gif.getvalue(), "not JPEG, PNG, WEBP"),
        (jpeg(0)[:-300], "truncated"),
    ):
        with pytest.raises(PoisonFrame, match=reason):
            decode_frame(incoming(0, body), prepare, settings)


def test_live_drops_the_oldest_and_recorded_drops_nothing() -> None:
    async def fill(policy) -> tuple[list[int], list[int]]:
        line, gone = Intake(policy, 3), []
        for number in range(6):
            oldest = line.put(incoming(number))
            gone += [oldest.key.timestamp_ns] if oldest else []
            if number == 0:
                line.put(Restart())  # never dropped
        kept = [await line.get() for _ in range(len(line) + 1)]
        return gone, [item.key.timestamp_ns for item in kept if isinstance(item, IncomingFrame)]

    assert asyncio.run(fill("drop_oldest")) == ([0, 1, 2], [3, 4, 5])
    assert asyncio.run(fill("block")) == ([], [0, 1, 2, 3, 4, 5])


def test_dead_letters_copy_no_more_headers_than_fit_into_a_frame() -> None:
    many = {f"header-{number}": "x" * 10_000 for number in range(100)}
    assert bounded_headers({**many, "timestamp_ns": 5}) == {"timestamp_ns": "5"}
    copied = bounded_headers(
        {"stream_id": "\u00e9" * 10_000, "video_segment": b"\xff" * 10_000, "timestamp_ns": [1] * 10_000}
    )
    assert sum(len(value.encode()) for value in copied.values()) < 4096


@pytest.mark.parametrize(
    "body",
    [b"{}", b"null", b'{"stream_id": null}', b'{"stream_id": ["a"]}', b'{"stream_id": ""}', b"[" * 5000, b"[" * 4000]
    + [b'{"stream_id": "' + b"x" * 200 + b'"}', b'{"stream_id": true}', b"\xff", b'{"stream_id": NaN}'],
)
def test_a_restart_that_names_no_stream_restarts_nothing(body: bytes) -> None:
    assert read_restart(b"") is None  # all streams
    assert read_restart(b'{"stream_id": "a"}') == "a"
    with pytest.raises(ValueError, match="expected an empty body, or JSON"):
        read_restart(body)


def test_a_stream_is_idle_when_nothing_came_and_nothing_is_on_its_way() -> None:
    watch = IdleWatch(idle_seconds=3.0, tick_seconds=0.5)

    def quiet(seconds: float, waiting: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
        candidates: set[str] = set()
        for _ in range(round(seconds / 0.5)):
            candidates = watch.tick(0.5, {"a"}, waiting)
        return candidates

    watch.delivered("a")
    assert quiet(2.5) == set()
    assert watch.tick(3600.0, {"a"}, set()) == {"a"}, "2.5 s and the longest that a tick counts, 1 s"
    watch.delivered("a")
    assert watch.tick(3600.0, {"a"}, set()) == set(), "the process was stopped: nobody knows what came meanwhile"
    assert quiet(10.0, waiting={"a"}) == set(), "a frame that waits keeps the world alive"
    assert quiet(3.0) == {"a"}
    assert watch.confirm({"a"}, queued=None) == set(), "the broker does not answer"
    assert watch.confirm({"a"}, queued=2) == set(), "there are frames on the broker, and who knows whose"
    watch.delivered("b")
    assert watch.confirm({"a"}, queued=1) == set()
    watch.delivered("b")
    assert watch.confirm({"a"}, queued=7) == {"a"}, "all that was there has come: it was another stream's"
