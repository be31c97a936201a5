"""Faults on a real RabbitMQ. Each test states what was sent, what came out and what was lost: nothing acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")


from slam3r.service.broker import BrokerError
from slam3r.service.client import ServiceClient
from tests.rabbitmq import RabbitMQ, rabbitmq  # noqa: F401 (the fixture)
from tests.service_worker import (
    LIVE,
    Collector,
    Place,
    count,
    jpeg,
    make_place,
    queue_length,
    random_sessions,
    running,
    send,
    until,
)
from tests.tiny_scene import save_weights

pytestmark = pytest.mark.slow
# ruff: noqa: F811 (the fixture's name is that of the argument)


class SlowSession:
    """A session whose every push takes a while."""

    def __init__(self, inside: Any, seconds: float) -> None:
        self._inside, self._seconds = inside, seconds

    def push(self, images: Any, timestamps: Any, names: Any) -> Any:
        time.sleep(self._seconds * len(names))
        return self._inside.push(images, timestamps, names)

    def flush(self) -> Any:
        return self._inside.flush()

    def checkpoint(self, path: Path) -> None:
        self._inside.checkpoint(path)


def slow_sessions(seconds: float):
    make = random_sessions()
    return lambda checkpoint, on_end: SlowSession(make(checkpoint, on_end), seconds)


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


def _start_worker(place: Place, folder: Path, *more: str) -> subprocess.Popen:
    weights = folder / "weights"
    if not weights.exists():
        save_weights(weights)
    broker, segments = place.settings.broker, place.settings.segments
    overrides = {
        "model.weights.image_to_points": weights / "image_to_points",
        "model.weights.local_to_world": weights / "local_to_world",
        "~model.sizes": None,
        "device": "cpu",
        "dtype": "float32",
        "size": "[32,32]",
        "threads": 1,
        "service.broker.frame_queue": broker.frame_queue,
        "service.broker.dead_letter_queue": broker.dead_letter_queue,
        "service.broker.partitions": broker.partitions,
        "service.intake.policy": place.settings.intake.policy,
        "service.intake.batch": 1,
        "service.mesh.enabled": "false",
        "service.segments.state": segments.state,
        "service.segments.checkpoint_seconds": segments.checkpoint_seconds,
        "service.http.enabled": "false",
        **{f"service.broker.exchanges.{name}": value for name, value in vars(place.exchanges).items()},
    }
    chosen = ("keyframe_stride", "stride_max", "window_radius", "initial_window", "num_scene_frames", "buffer_size")
    overrides |= {f"reconstruction.{name}": getattr(LIVE.reconstruction, name) for name in chosen}
    overrides |= {f"reconstruction.{name}": 0 for name in ("initial_confidence", "weak_confidence")}
    command = [
        sys.executable,
        "scripts/serve.py",
        *(key if value is None else f"{key}={value}" for key, value in overrides.items()),
        *more,
    ]
    environment = {**os.environ, "RABBITMQ_URL": place.url, "OMP_NUM_THREADS": "1"}
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen([*command], env=environment, stdout=log, stderr=log)


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 0.2])
def test_worker_killed_in_mid_frame(rabbitmq: RabbitMQ, tmp_path: Path, checkpoint_seconds: float) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"checkpoint_seconds": checkpoint_seconds})
        collector = Collector(place)
        await collector.declare()
        await send(place, range(60))
        first = _start_worker(place, tmp_path)

        async def answered(wanted: int) -> bool:
            assert first.poll() is None, (tmp_path / "worker.log").read_text()[-2000:]
            return len(await collector.poses()) >= wanted

        try:
            await until(lambda: answered(15), 120)
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        before = set(await collector.poses())
        await until(lambda: _ready(place, 1))  # unacknowledged frames are back
        waiting = await queue_length(place, place.settings.broker.frame_queue)
        print(f"killed after {len(before)} answers; {waiting} frames went back to the queue")
        # Nothing acknowledged was lost: what is not in the queue has an answer.
        assert 60 - waiting <= len(before) < 60
        second = _start_worker(place, tmp_path)
        try:
            await until(lambda: _answered_all(collector, 56), 120)
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0, (tmp_path / "worker.log").read_text()[-2000:]
        poses = await collector.poses()
        waiting = await queue_length(place, place.settings.broker.frame_queue)
        repeated = sum(times > 1 for times in poses.values())
        print(f"{len(poses)} of 60 frames answered, {repeated} twice, {waiting} wait for the next worker")
        assert len(poses) + waiting >= 60
        assert max(poses.values()) <= 2 and repeated <= 16  # a group whose confirmation the worker did not live to see
        ends = [boundary.reason for boundary in collector.of("segment_boundary")]
        # With checkpoints the world goes on, over the kill and over the stop; without, it ended with the worker.
        assert ends == ([] if checkpoint_seconds else ["recovered", "stopped"])
        parts = {m.part for m in collector.of("pose")}
        assert parts == ({0} if checkpoint_seconds else {0, 1})

    asyncio.run(scene())


async def _ready(place: Place, wanted: int) -> bool:
    return await queue_length(place, place.settings.broker.frame_queue) >= wanted


async def _answered_all(collector: Collector, wanted: int) -> bool:
    return len(await collector.poses()) >= wanted


def test_ten_times_more_frames_than_it_can_take(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(
            intake={"policy": "drop_oldest", "pending_frames": 8, "batch": 2}
        )
        collector = Collector(place)
        await collector.declare()
        sent = 0
        async with running(place, slow_sessions(0.1)) as worker:  # 10 frames per second at most
            async with ServiceClient(place.url, place.exchanges) as client:
                body, start = jpeg(0), time.monotonic()
                while time.monotonic() - start < 12:
                    await client.publish(body, sent)
                    sent += 1
                    await asyncio.sleep(max(0, start + sent / 100 - time.monotonic()))
            await until(lambda: not count(worker, "frames_open") or count(worker, "queue_depth") == 0, 60)
            dropped = count(worker, "frames_dropped_total", reason="queue_full")
        published = count(worker, "frames_published_total")
        poses = await collector.poses()
        slowest = [b for b in (0.5, 1.0, 2.5, 5.0, 10.0) if _below(worker, b) >= 0.95 * published]
        print(f"sent {sent}, answered {len(poses)}, dropped {dropped:.0f}, 95 % within {slowest[:1]} s")
        assert len(poses) + dropped == sent, "a frame is neither answered nor counted as dropped"
        assert dropped > sent / 2
        assert sent - 1 in poses, "the newest frame matters most"
        assert slowest and slowest[0] <= 10.0, "latency grew with the load"  # all of them would take two minutes

    asyncio.run(scene())


def _below(worker: Any, seconds: float) -> float:
    return count(worker, "frame_latency_seconds_bucket", le=str(seconds))


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
        standby = place.with_(segments={"state": str(tmp_path / "state2")})
        collector = Collector(place)
        await collector.declare()
        async with running(standby) as second:
            await until(lambda: count(second, "broker_connected"))
            async with running(place) as idle:
                await until(lambda: count(idle, "broker_connected"))
                await send(place, range(6))
                await until(lambda: count(second, "frames_received_total") == 6)
                assert count(idle, "frames_received_total") == 0, "one active worker per queue"
        assert await collector.poses() == dict.fromkeys(range(6), 1)

    asyncio.run(scene())


def test_a_queue_declared_otherwise_is_a_clear_error(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        await Collector(place).declare()
        with pytest.raises(BrokerError, match="declared otherwise"):
            async with running(place.with_(intake={"policy": "drop_oldest"})):
                await asyncio.sleep(10)
        wrong = make_place(rabbitmq.url.replace("guest:guest", "guest:wrong"), tmp_path)
        with pytest.raises(BrokerError, match="user and password") as refused:
            async with running(wrong):
                await asyncio.sleep(10)
        assert "wrong" not in str(refused.value)

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

            await asyncio.wait_for(read(), 30)

    asyncio.run(scene())
