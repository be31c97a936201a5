"""Days on which several things go wrong at once, or one that nobody thinks of. Mostly on a real RabbitMQ."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from PIL import Image

from slam3r.service.client import ServiceClient
from tests.support.rabbitmq import RabbitMQ
from tests.support.service_worker import (
    LIMIT_SECONDS,
    REFINING,
    Collector,
    count,
    helpers_of,
    jpeg,
    make_place,
    running,
    send,
    start_worker,
    until,
    waiting_to_be_refined,
)
from tests.support.slow_session import sessions_that

DRAIN = 4.0
"""`drain_seconds` of the drills that stop a worker."""


@contextmanager
def log_of(process: subprocess.Popen, folder: Path) -> Iterator[None]:
    """Context after which a worker's process is gone; a failure shows the end of its log."""
    try:
        yield
    except BaseException:
        print((folder / "worker.log").read_text()[-3000:])
        raise
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_all_processes_are_told_to_stop_while_a_segment_is_refined(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """As systemd does it. The worker ends in an orderly way, and the segment is refined by the next one."""
    place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True, "drain_seconds": DRAIN})
    about = tmp_path / "segments" / "default" / "a" / "segment.json"

    async def scene() -> None:
        collector = Collector(place)
        await collector.declare()
        await send(place, range(8), segment="a")
        await send(place, range(10, 18), segment="b")
        first = start_worker(place, tmp_path, REFINING)
        with log_of(first, tmp_path):
            await until(lambda: helpers_of(first.pid))
            os.killpg(first.pid, signal.SIGTERM)
            assert first.wait(LIMIT_SECONDS) == 0
        assert "verdict" not in json.loads(about.read_text()) and waiting_to_be_refined(tmp_path)
        second = start_worker(place, tmp_path, REFINING)
        with log_of(second, tmp_path):
            await until(lambda: "verdict" in json.loads(about.read_text()))
            await until(lambda: not waiting_to_be_refined(tmp_path))
            second.send_signal(signal.SIGTERM)
            assert second.wait(LIMIT_SECONDS) == 0
        await collector.read()
        refined = [(message.segment, message.verdict is not None) for message in collector.of("segment_refined")]
        assert sorted(refined) == [("a", True), ("b", True)]

    asyncio.run(scene())


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_ends_in_time_while_a_save_hangs(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True, "drain_seconds": DRAIN})
    hang = (
        "import time\nfrom slam3r.service.segments.files import SegmentFolders\n"
        "SegmentFolders.stage = lambda *_: (print('hanging', flush=True), time.sleep(600))"
    )

    async def scene() -> None:
        collector = Collector(place)
        await collector.declare()
        await send(place, range(6), segment="a")
        await send(place, [10], segment="b")
        process = start_worker(place, tmp_path, before=hang)
        with log_of(process, tmp_path):
            await until(lambda: "hanging" in (tmp_path / "worker.log").read_text())
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(LIMIT_SECONDS) == 0
            assert time.monotonic() - began < DRAIN + 5

    asyncio.run(scene())


@pytest.mark.slow
def test_a_broker_without_memory_takes_results_later_and_each_once(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """It stops reading from all who publish, for longer than two heartbeats; frames it still delivers."""
    place = make_place(rabbitmq.url, tmp_path).with_(broker={"heartbeat_seconds": 2}, intake={"batch": 1})

    async def scene() -> None:
        collector = Collector(place)
        await collector.declare()
        await send(place, range(12))
        go_on = threading.Event()
        async with running(place, sessions_that(lambda _: go_on.wait(LIMIT_SECONDS))) as worker:  # type: ignore[arg-type]
            await until(lambda: count(worker, "frames_received_total") == 12)
            await asyncio.to_thread(rabbitmq.refuse_publishers, True)
            go_on.set()
            try:
                await until(lambda: worker.health().unconfirmed_seconds > 5)
                assert count(worker, "frames_published_total") < 8
            finally:
                await asyncio.to_thread(rabbitmq.refuse_publishers, False)
            await until(lambda: count(worker, "frames_published_total") >= 10)
            assert count(worker, "broker_connections_total") == 1
        assert await collector.poses() == dict.fromkeys(range(12), 1)
        assert [end.reason for end in collector.of("segment_boundary")] == ["stopped"]

    asyncio.run(scene())


def rotated(body: bytes, size: tuple[int, int], tag: int = 1) -> bytes:
    """A frame of another (width, height); with the EXIF tag 6 it is to be shown turned by 90 degrees."""
    image, buffer = Image.open(io.BytesIO(body)).resize(size), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = tag
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.slow
def test_frames_that_change_their_size_and_orientation_in_mid_stream(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True})
    about = tmp_path / "segments" / "default" / "a" / "segment.json"
    shapes = [((64, 48), 1), ((48, 64), 1), ((64, 48), 6), ((320, 200), 1)]

    async def scene() -> None:
        collector = Collector(place)
        await collector.declare()
        async with running(place, live=REFINING) as worker:
            async with ServiceClient(place.url, place.exchanges) as client:
                for number in range(16):
                    size, tag = shapes[number // 4]
                    await client.publish(rotated(jpeg(number), size, tag), number, segment="a")
                await client.publish(jpeg(20), 20, segment="b")
            await until(lambda: about.exists() and "verdict" in json.loads(about.read_text()))
            assert count(worker, "broker_connections_total") == 1
        poses = {message.timestamp_ns: message for message in await collector.read() if message.TYPE == "pose"}
        sizes = [tuple(poses[number].image_size.tolist()) for number in range(16)]
        assert sizes == [(48, 64)] * 4 + [(64, 48)] * 8 + [(200, 320)] * 4
        assert {poses[number].status for number in range(16)} == {"registered"}
        assert json.loads(about.read_text())["verdict"]["frames_checked"] >= 2

    asyncio.run(scene())


def test_a_machine_that_takes_connections_and_says_nothing_is_no_broker(tmp_path: Path) -> None:
    """As a load balancer does when what stands behind it is gone. The worker tries again, and can be stopped."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = make_place(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}/", tmp_path).with_(
            broker={"connect_timeout_seconds": 0.3}, segments={"drain_seconds": DRAIN}
        )

        async def scene() -> None:
            async with running(place) as worker:
                await asyncio.sleep(2.0)
                assert not worker.health().connected
                began = time.monotonic()
            assert time.monotonic() - began < DRAIN + 5
            assert not worker.is_stuck

        asyncio.run(scene())
        silent.settimeout(1)
        for _ in range(2):  # it came back
            silent.accept()[0].close()
