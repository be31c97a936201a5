"""Segments that the service refines when they have ended, on a real RabbitMQ, beside the frames of the next one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.errors import InputError
from slam3r.live.settings import LiveSettings
from slam3r.service.worker import Worker
from tests.support.rabbitmq import RabbitMQ
from tests.support.service_worker import LIVE, Collector, count, make_place, random_sessions, running, send, until

REFINING = LiveSettings(LIVE.reconstruction, replace(LIVE.streaming, refine=True, refine_frames=6), LIVE.size)


@pytest.mark.slow
def test_a_closed_segment_is_refined_beside_the_stream(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True})
    about = tmp_path / "segments" / "default" / "a" / "segment.json"

    async def scene() -> None:
        collector = Collector(place)
        await collector.declare()
        async with running(place, live=REFINING) as worker:
            await send(place, range(12), segment="a", stream_id="default")
            await send(place, range(12, 20), segment="b", stream_id="default")  # goes on meanwhile
            await until(about.exists)
            await until(lambda: count(worker, "frames_published_total") >= 12)
            await until(lambda: "verdict" in json.loads(about.read_text()))
        assert await collector.poses() == dict.fromkeys(range(20), 1)

    asyncio.run(scene())
    verdict = json.loads(about.read_text())["verdict"]
    # Networks with random weights: the point is that the pictures were looked at, and that the verdict says so.
    assert 2 <= verdict["frames_checked"] <= 6 and verdict["reason"]
    assert not list((tmp_path / "segments").glob(".staging-*/*.npz"))


def test_refinement_without_saved_segments_is_said_at_once(tmp_path: Path) -> None:
    place = make_place("amqp://localhost/", tmp_path)

    async def scene() -> None:
        with pytest.raises(InputError, match=r"streaming\.refine .* service\.segments\.save=true"):
            Worker(place.settings, REFINING, random_sessions(REFINING), threshold=0.0)

    asyncio.run(scene())
