"""The service on a real RabbitMQ: a stream in, answers out, and every fault that it is made to survive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.geometry.calibration import Calibration
from common.geometry.undistortion import Undistorter
from slam3r.live.session import LiveReconstruction
from slam3r.live.settings import LiveSettings
from slam3r.live.updates import FrameUpdate
from slam3r.reconstruction import Networks
from slam3r.service.client import ServiceClient
from tests.support.rabbitmq import RabbitMQ
from tests.support.service_worker import (
    LIVE,
    Collector,
    count,
    dead_letters,
    jpeg,
    make_place,
    queue_length,
    running,
    send,
    until,
)
from tests.support.tiny_scene import tiny_models


def test_every_frame_gets_one_answer_and_poison_goes_aside(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(intake={"max_frame_bytes": 100_000})
        collector = Collector(place)
        await collector.declare()
        bad = {
            "zero bytes": b"",
            "truncated": jpeg(0)[:400],
            "not jpeg": b"no image at all",
            "cannot be read": b"\x89PNG\r\n\x1a\n" + bytes(64),  # labelled as what it is not
            "200000 bytes, 100000 are the limit": bytes(200_000),
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
            await until(lambda: count(worker, "frames_received_total") == 24)
            await until(lambda: count(worker, "frames_published_total") >= 15)
            assert count(worker, "streams") == 1 and count(worker, "points") > 0
        assert await collector.poses() == dict.fromkeys(range(18), 1)
        assert [(b.segment, b.reason) for b in collector.of("segment_boundary")] == [("a", "segment"), ("b", "stopped")]
        reasons = {letter.body: str(letter.headers["reason"]) for letter in await dead_letters(place)}
        assert len(reasons) == len(bad)
        for expected, body in bad.items():
            assert expected in reasons[body].lower()
        assert await queue_length(place, place.settings.broker.frame_queue) == 0

    asyncio.run(scene())


def test_a_calibrated_camera_is_undistorted_and_its_intrinsics_are_published(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    calibration = Calibration(70.0, 69.0, 31.0, 23.0, (48, 64), k1=-0.2, k2=0.03)

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        async with running(place, calibration=calibration) as worker:
            await send(place, range(8))
            async with ServiceClient(place.url, place.exchanges) as client:
                await client.publish(np.zeros((64, 64, 3), np.uint8), 8)  # of another camera
            await until(lambda: count(worker, "frames_received_total") == 9)
            await until(lambda: count(worker, "frames_published_total") >= 5)
        assert await collector.poses() == dict.fromkeys(range(8), 1)
        expected = Undistorter(calibration).intrinsics.numpy()
        for message in collector.of("pose"):
            np.testing.assert_allclose(message.intrinsics, expected, rtol=1e-5)
        (letter,) = await dead_letters(place)
        assert "calibrated for pictures of [48, 64], this one is [64, 64]" in str(letter.headers["reason"])

    asyncio.run(scene())


@pytest.mark.slow
def test_the_first_pose_does_not_wait_for_the_frames_that_waited_with_it(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """The push that founds a world registers all frames that came until then, which may take a minute."""
    searching = replace(LIVE.reconstruction, keyframe_stride=-1, stride_search_frames=8)
    live = LiveSettings(searching, LIVE.streaming, LIVE.size)
    networks, go_on = Networks(*tiny_models()), threading.Event()

    class Held(LiveReconstruction):
        """Stands still after every answer until told to go on."""

        def feed(self, *frames: Any) -> Iterator[FrameUpdate]:
            for update in super().feed(*frames):
                yield update
                go_on.wait()

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        async with running(place, lambda _, on_end: Held(networks, live, on_segment_end=on_end), live=live) as worker:
            try:
                await send(place, range(8))
                await until(lambda: count(worker, "frames_received_total") == 8)
                await until(lambda: count(worker, "frames_published_total") == 1)
                assert await collector.poses() == {0: 1}
                # The broker holds one frame less: the first one is acknowledged.
                await until(lambda: count(worker, "frames_open") == 7)
            finally:
                go_on.set()
            await until(lambda: count(worker, "frames_published_total") == 8)
        assert await collector.poses() == dict.fromkeys(range(8), 1)

    asyncio.run(scene())
