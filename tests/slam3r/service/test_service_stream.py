"""The service on a real RabbitMQ: a stream in, answers out, and every fault that it is made to survive."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from slam3r.service.client import ServiceClient
from tests.rabbitmq import RabbitMQ, rabbitmq  # noqa: F401 (the fixture)
from tests.service_worker import (
    Collector,
    count,
    dead_letters,
    jpeg,
    make_place,
    queue_length,
    running,
    until,
)


def test_every_frame_gets_one_answer_and_poison_goes_aside(rabbitmq: RabbitMQ, tmp_path: Path) -> None:  # noqa: F811
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        bad = {
            "zero bytes": b"",
            "truncated": jpeg(0)[:400],
            "not JPEG": b"no image at all",
            "cannot be read": b"\x89PNG\r\n\x1a\n" + bytes(64),
        }
        async with running(place) as worker:
            async with ServiceClient(place.url, place.exchanges) as client:
                for number in range(12):
                    await client.publish(jpeg(number), number, segment="a")
                for number, body in enumerate(bad.values(), 100):
                    await client.publish(body, number, segment="a")
                await client.publish(jpeg(3), 3, segment="a")  # sent twice
                for number in range(12, 18):
                    await client.publish(jpeg(number), number, segment="b")
            await until(lambda: count(worker, "frames_received_total") == 23)
            await until(lambda: count(worker, "frames_published_total") >= 15)
        assert await collector.poses() == dict.fromkeys(range(18), 1)
        assert [(b.segment, b.reason) for b in collector.of("segment_boundary")] == [("a", "segment"), ("b", "stopped")]
        reasons = [str(message.headers["reason"]) for message in await dead_letters(place)]
        assert len(reasons) == len(bad)
        assert all(any(part in reason for reason in reasons) for part in ("zero bytes", "not JPEG", "cannot be read"))
        assert await queue_length(place, place.settings.broker.frame_queue) == 0

    asyncio.run(scene())
