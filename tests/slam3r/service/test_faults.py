"""Faults on a real RabbitMQ. Each test states what was sent, what came out and what was lost: nothing acknowledged."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from slam3r.service.client import ServiceClient
from tests.support.rabbitmq import RabbitMQ
from tests.support.service_worker import (
    LIMIT_SECONDS,
    Collector,
    count,
    has_no_worker,
    jpeg,
    make_place,
    queue_length,
    running,
    send,
    start_worker,
    until,
)
from tests.support.slow_session import slow_sessions

pytestmark = pytest.mark.slow


def test_broker_killed_in_mid_stream(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        await send(place, range(40))
        async with running(place, slow_sessions(0.1)) as worker:
            await until(lambda: count(worker, "frames_published_total") >= 12)
            before = count(worker, "frames_published_total")
            await asyncio.to_thread(rabbitmq.restart)
            assert before < 40
            await until(lambda: count(worker, "broker_connections_total") == 2)
            await send(place, range(40, 50))
            await until(lambda: count(worker, "frames_published_total") >= 46)
        poses = await collector.poses()
        print("answers per frame:", poses)
        assert set(poses) == set(range(50)), "a frame was lost"
        assert max(poses.values()) <= 2  # a confirmation that the broker took with it
        assert len(collector.of("segment_boundary")) == 1, "the world was lost"
        assert await queue_length(place, place.settings.broker.frame_queue) == 0

    asyncio.run(scene())


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 0.2])
def test_worker_killed_in_mid_frame(rabbitmq: RabbitMQ, tmp_path: Path, checkpoint_seconds: float) -> None:
    sent = 240

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"checkpoint_seconds": checkpoint_seconds})
        collector = Collector(place)
        await collector.declare()
        await send(place, range(sent))
        first = start_worker(place, tmp_path)

        async def answered(wanted: int) -> bool:
            assert first.poll() is None, (tmp_path / "worker.log").read_text()[-2000:]
            return len(await collector.poses()) >= wanted

        try:
            await until(lambda: answered(15))
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        await until(lambda: has_no_worker(place))
        waiting = await queue_length(place, place.settings.broker.frame_queue)
        before = set(await collector.poses())
        print(f"killed after {len(before)} answers; {waiting} of {sent} frames are in the queue again")
        # Nothing acknowledged was lost: what is not in the queue has an answer.
        assert sent - waiting <= len(before) < sent
        second = start_worker(place, tmp_path)
        try:
            await until(lambda: _answered_all(collector, sent - 4))
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(LIMIT_SECONDS) == 0, (tmp_path / "worker.log").read_text()[-2000:]
        poses = await collector.poses()
        waiting = await queue_length(place, place.settings.broker.frame_queue)
        repeated = sum(times > 1 for times in poses.values())
        print(f"{len(poses)} of {sent} frames answered, {repeated} twice, {waiting} wait for the next worker")
        assert len(poses) + waiting >= sent
        assert max(poses.values()) <= 2 and repeated <= 16  # a group whose confirmation the worker did not live to see
        ends = [boundary.reason for boundary in collector.of("segment_boundary")]
        # With checkpoints the world goes on, over the kill and over the stop; without, it ended with the worker.
        assert ends == ([] if checkpoint_seconds else ["recovered", "stopped"])
        parts = {m.part for m in collector.of("pose")}
        assert parts == ({0} if checkpoint_seconds else {0, 1})

    asyncio.run(scene())


async def _answered_all(collector: Collector, wanted: int) -> bool:
    return len(await collector.poses()) >= wanted


def test_ten_times_more_frames_than_it_can_take(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Short; ``python scripts/profile_speed.py stages=[service] 'service.loads=[overload]'`` does it for a minute."""
    sent, limit = 600, 8

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(
            intake={"policy": "drop_oldest", "pending_frames": limit, "batch": 2}
        )
        collector = Collector(place)
        await collector.declare()
        deepest = 0.0
        async with running(place, slow_sessions(0.3)) as worker:  # 3 frames per second at most
            async with ServiceClient(place.url, place.exchanges) as client:
                body = jpeg(0)
                for number in range(sent):
                    await client.publish(body, number)
                    deepest = max(deepest, count(worker, "queue_depth"))
            await until(lambda: count(worker, "frames_received_total") == sent and not count(worker, "queue_depth"))
            dropped = count(worker, "frames_dropped_total", reason="queue_full")
        poses = await collector.poses()
        print(f"sent {sent}, answered {len(poses)}, dropped {dropped:.0f}, at most {deepest:.0f} waited")
        assert len(poses) + dropped == sent, "a frame is neither answered nor counted as dropped"
        assert await queue_length(place, place.settings.broker.frame_queue) == 0
        assert dropped > sent / 2
        assert sent - 1 in poses, "the newest frame matters most"
        assert deepest <= limit, "latency grows with the load"

    asyncio.run(scene())


def test_recorded_video_waits_and_loses_nothing(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(
            broker={"queue_limit_frames": 5}, intake={"prefetch": 20, "decode_ahead": 2}
        )
        collector = Collector(place)
        await collector.declare()
        async with running(place, slow_sessions(0.02)) as worker:
            await send(place, range(80))  # the client waits whenever the queue is full
            await until(lambda: count(worker, "frames_published_total") >= 76)
        assert await collector.poses() == dict.fromkeys(range(80), 1)

    asyncio.run(scene())


def test_clock_backwards_segment_in_mid_window_and_restart(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True})
        collector = Collector(place)
        await collector.declare()
        async with running(place) as worker:
            await send(place, [0, 1, 2, 3, 9, 8, 7, 6, 10], segment="a")
            await send(place, [100], segment="too short for a world")
            await send(place, [2, 200], segment="a")  # one is late, one begins the segment again
            await send(place, range(201, 208), segment="a")
            await until(lambda: count(worker, "frames_published_total") >= 14)
            async with ServiceClient(place.url, place.exchanges) as client:
                await client.restart()
            await until(lambda: count(worker, "segments_closed_total", reason="restart") == 1)
            await send(place, range(300, 306), segment="a")
            await until(lambda: count(worker, "frames_received_total") == 25)
        assert count(worker, "clock_backwards_total") == 3
        assert count(worker, "frames_duplicate_total") == 1  # the late frame had been published before
        poses = await collector.poses()
        assert set(poses.values()) == {1}
        statuses = {m.timestamp_ns: m.status for m in collector.of("pose")}
        assert statuses[100] == "unregistered"
        assert all(status == "registered" for stamp, status in statuses.items() if stamp != 100)
        worlds = [(m.segment, m.part, m.reason) for m in collector.of("segment_boundary")]
        short = "too short for a world"
        assert worlds == [("a", 0, "segment"), (short, 0, "segment"), ("a", 1, "restart"), ("a", 2, "stopped")]
        saved = sorted(path.name for path in (tmp_path / "segments" / "default").iterdir())
        assert saved[:3] == ["a", "a.part1", "a.part2"]

    asyncio.run(scene())


def test_two_workers_two_streams_each_stream_with_one_worker(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        base = make_place(rabbitmq.url, tmp_path)
        base = base.with_(broker={"partitions": 2}, intake={"max_streams": 2})
        places = [
            base.with_(broker={"consume": [number]}, segments={"state": str(tmp_path / f"state{number}")})
            for number in range(2)
        ]
        collector = Collector(base)
        await collector.declare()
        async with running(places[0]) as first, running(places[1]) as second:
            await until(lambda: count(first, "broker_connected") and count(second, "broker_connected"))
            # Names whose hashes fall on different queues: found by trying, as users would by having many streams.
            for stream in (names := [f"camera-{letter}" for letter in "abcdefgh"]):
                await send(base, [0], stream_id=stream)
            await until(lambda: count(first, "frames_received_total") + count(second, "frames_received_total") == 8)
            shares = [count(first, "frames_received_total"), count(second, "frames_received_total")]
            print("streams per worker:", shares)
            assert min(shares) > 0
            await asyncio.gather(*(send(base, range(1, 13), stream_id=name) for name in names[:2]))
            await until(lambda: count(first, "frames_received_total") + count(second, "frames_received_total") == 32)
        await collector.read()
        for name in names[:2]:
            own = [m for m in collector.of("pose") if m.stream_id == name and m.timestamp_ns > 0]
            assert [m.timestamp_ns for m in own] == list(range(1, 13)), "a stream was split between workers"

    asyncio.run(scene())


def test_a_second_worker_takes_over(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        async with AsyncExitStack() as standing_by:
            async with running(place) as active:
                await until(lambda: count(active, "broker_connected"))
                other = place.with_(segments={"state": str(tmp_path / "state2")})
                standby = await standing_by.enter_async_context(running(other))
                await until(lambda: count(standby, "broker_connected"))
                await send(place, range(6))
                await until(lambda: count(active, "frames_received_total") == 6)
            assert count(standby, "frames_received_total") == 0, "one active worker per queue"
            await send(place, range(6, 12))
            await until(lambda: count(standby, "frames_received_total") == 6)
        assert await collector.poses() == dict.fromkeys(range(12), 1)
        assert [m.reason for m in collector.of("segment_boundary")] == ["stopped", "stopped"]

    asyncio.run(scene())


def test_clients_read_what_the_service_sends(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        async with running(place), ServiceClient(place.url, place.exchanges) as client:
            results = await client.subscribe("pose", "points", "keyframe")
            for number in range(8):
                await client.publish(jpeg(number), number, "camera.1", "a")
            kinds: set[str] = set()

            async def read() -> None:
                async for message in results:
                    kinds.add(message.TYPE)
                    assert message.stream_id == "camera.1"
                    if kinds == {"pose", "points", "keyframe"}:
                        return

            await asyncio.wait_for(read(), LIMIT_SECONDS)

    asyncio.run(scene())
