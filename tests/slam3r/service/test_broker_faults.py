"""A broker that hangs, refuses, or loses what was declared on it. On a real RabbitMQ."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

import aio_pika

from slam3r.service.broker.errors import BrokerError
from slam3r.service.client import ServiceClient
from slam3r.service.segments.files import SegmentFolders
from tests.support.rabbitmq import RabbitMQ
from tests.support.service_worker import (
    Collector,
    Place,
    count,
    dead_letters,
    jpeg,
    make_place,
    queue_length,
    run_until_it_ends,
    running,
    send,
    start_worker,
    until,
)
from tests.support.slow_session import slow_sessions

pytestmark = pytest.mark.slow

DRAIN = 4.0
"""`drain_seconds` of the drills that stop a worker."""


async def _delete(place: Place, queue: str) -> None:
    connection = await aio_pika.connect(place.url)
    async with connection:
        await (await connection.channel()).queue_delete(queue)


def test_a_full_queue_of_some_subscriber_stops_nobody_and_copies_are_few(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(broker={"refused_attempts": 3})
        collector = Collector(place)
        await collector.declare()
        connection = await aio_pika.connect(place.url)
        async with connection:
            channel = await connection.channel()
            full: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
            foreign = await channel.declare_queue(exclusive=True, arguments=full)
            await foreign.bind(await channel.get_exchange(place.exchanges.pose))
            async with (
                running(place) as worker,
                ServiceClient(place.url, place.exchanges) as client,
            ):
                results = await client.subscribe("pose")
                await send(place, range(10))
                await until(lambda: count(worker, "frames_published_total") >= 6)
                seen = [(await results.__anext__()).timestamp_ns for _ in range(6)]  # type: ignore[attr-defined]
                assert count(worker, "publish_refused_total", exchange=place.exchanges.pose) > 0
        assert seen == list(range(6)), "the client passes over copies, by their message id"
        copies = await collector.poses()
        assert set(copies) == set(range(10)) and max(copies.values()) == 3
        assert await queue_length(place, place.settings.broker.frame_queue) == 0

    asyncio.run(scene())


def test_a_confirmation_that_takes_its_time_doubles_nothing_and_shows_in_health(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"idle_seconds": 1.5})
        collector = Collector(place)
        await collector.declare()
        await send(place, range(8))
        async with running(place, slow_sessions(0.3)) as worker:
            await until(lambda: count(worker, "frames_received_total") == 8)
            rabbitmq.freeze()
            try:
                await until(lambda: worker.health().unconfirmed_seconds > 4)
                health = worker.health()
                assert health.connected and health.unconfirmed > 0
                # Nobody can know whether frames wait on the frozen broker, so the stream is not idle.
                assert count(worker, "streams") == 1
            finally:
                rabbitmq.thaw()
            await until(lambda: count(worker, "frames_published_total") >= 4)
            await send(place, range(8, 12))
            await until(lambda: count(worker, "frames_published_total") >= 8)
            assert count(worker, "broker_connections_total") == 1
            await until(lambda: worker.health().unconfirmed == 0)
        assert await collector.poses() == dict.fromkeys(range(12), 1)

    asyncio.run(scene())


def test_a_frozen_broker_is_noticed_after_two_heartbeats(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(broker={"heartbeat_seconds": 2})
        collector = Collector(place)
        await collector.declare()
        async with running(place) as worker:
            await send(place, range(8))
            await until(lambda: count(worker, "frames_published_total") >= 4)
            await asyncio.sleep(3)  # heartbeats keep a quiet connection
            assert count(worker, "broker_connections_total") == 1
            rabbitmq.freeze()
            began = time.monotonic()
            try:
                await until(lambda: not worker.health().connected)
                seconds = time.monotonic() - began
            finally:
                rabbitmq.thaw()
            assert 2 < seconds < 2 * 2 + 5
            await send(place, range(8, 12))
            await until(lambda: count(worker, "frames_published_total") >= 10)
        assert set(await collector.poses()) == set(range(12))

    asyncio.run(scene())


def test_frames_that_wait_behind_a_slow_push_keep_their_world_alive(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"idle_seconds": 0.6}, intake={"batch": 1})
        collector = Collector(place)
        await collector.declare()
        await send(place, range(16))
        async with running(place, slow_sessions(0.8)) as worker:
            await until(lambda: count(worker, "segments_closed_total", reason="idle") == 1)
            assert count(worker, "frames_published_total") == 16
        assert await collector.poses() == dict.fromkeys(range(16), 1)
        assert [b.reason for b in collector.of("segment_boundary")] == ["idle"], "one world, when all was done"

    asyncio.run(scene())


def test_a_worker_that_was_stopped_for_a_while_ends_no_world(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """As a laptop is that sleeps: the time that passed meanwhile says nothing about the stream."""
    idle = 15.0

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"idle_seconds": idle})
        collector = Collector(place)
        await collector.declare()
        await send(place, range(8))
        process = start_worker(place, tmp_path)

        async def answered(wanted: int) -> bool:
            assert process.poll() is None, (tmp_path / "worker.log").read_text()[-2000:]
            return len(await collector.poses()) >= wanted

        try:
            await until(lambda: answered(4))
            process.send_signal(signal.SIGSTOP)
            await send(place, range(8, 12))
            await asyncio.sleep(idle + 2)
            process.send_signal(signal.SIGCONT)
            await until(lambda: answered(8))
            assert collector.of("segment_boundary") == []
            assert {m.part for m in collector.of("pose")} == {0}
        finally:
            process.kill()

    asyncio.run(scene())


def test_queues_that_are_deleted_under_the_worker_are_declared_again(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        broker = place.settings.broker
        collector = Collector(place)
        await collector.declare()
        async with running(place) as worker:
            await send(place, range(8))
            await until(lambda: count(worker, "frames_published_total") >= 4)
            await _delete(place, broker.frame_queue)
            await until(lambda: count(worker, "broker_connections_total") == 2)
            await send(place, range(8, 12))
            await until(lambda: count(worker, "frames_published_total") >= 10)
            await _delete(place, broker.dead_letter_queue)
            async with ServiceClient(place.url, place.exchanges) as client:
                await client.publish(b"no image", 12)
            await until(lambda: count(worker, "frames_dropped_total", reason="poison") == 1)
            (letter,) = await dead_letters(place)
            assert letter.body == b"no image", "acknowledged and lost"
        assert set(await collector.poses()) == set(range(12))

    asyncio.run(scene())


def test_another_number_of_partitions_is_refused_and_disturbs_nobody(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        async with running(place) as worker:
            await until(lambda: count(worker, "broker_connected"))
            other = place.with_(broker={"partitions": 2}, segments={"state": str(tmp_path / "other")})
            with pytest.raises(BrokerError, match="number of partitions"):
                await run_until_it_ends(other)
            await send(place, range(8))
            await until(lambda: count(worker, "frames_published_total") >= 4)
        assert await collector.poses() == dict.fromkeys(range(8), 1)

    asyncio.run(scene())


def test_part_numbers_never_repeat_and_a_world_ends_once(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        for first in (0, 100, 200):  # three workers, each stopped in an orderly way
            async with running(place) as worker:
                await send(place, range(first, first + 6))
                await until(lambda: count(worker, "frames_published_total") >= 2)
                async with ServiceClient(place.url, place.exchanges) as client:
                    await client.restart()
                await until(lambda: count(worker, "segments_closed_total", reason="restart") == 1)
                await send(place, range(first + 50, first + 56))
                await until(lambda: count(worker, "frames_published_total") >= 8)
        await collector.read()
        ends = [(b.part, b.reason) for b in collector.of("segment_boundary")]
        assert ends == [(0, "restart"), (1, "stopped"), (2, "restart"), (3, "stopped"), (4, "restart"), (5, "stopped")]
        assert {m.part for m in collector.of("pose")} == set(range(6))

    asyncio.run(scene())


@pytest.mark.parametrize("fault", ["frozen", "gone", "slow push", "save under way"])
def test_a_stop_takes_no_longer_than_promised_whatever_is_stuck(
    rabbitmq: RabbitMQ, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 15.0 if fault == "slow push" else 0.2

    def hang(*arguments: object) -> None:
        time.sleep(15)

    if fault == "save under way":
        monkeypatch.setattr(SegmentFolders, "stage", hang)

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(
            segments={"drain_seconds": DRAIN, "save": True}, intake={"batch": 1 if fault == "slow push" else 4}
        )
        collector = Collector(place)
        await collector.declare()
        await send(place, range(12), segment="a")
        await send(place, range(100, 106), segment="b")
        async with running(place, slow_sessions(seconds)) as worker:
            await until(lambda: count(worker, "frames_received_total") == 18)
            if fault == "save under way":
                await until(lambda: count(worker, "segments_closed_total", reason="segment") == 1)
            elif fault == "frozen":
                rabbitmq.freeze()
            elif fault == "gone":
                await asyncio.to_thread(rabbitmq.stop)
            began = time.monotonic()
        try:
            assert time.monotonic() - began < DRAIN + 5
            assert worker.is_stuck == (fault == "slow push")
        finally:
            rabbitmq.thaw() if fault == "frozen" else None
            await asyncio.to_thread(rabbitmq.start) if fault == "gone" else None

    asyncio.run(scene())


def test_a_process_that_is_told_to_stop_ends_in_time_while_the_broker_hangs(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"drain_seconds": DRAIN})
        collector = Collector(place)
        await collector.declare()
        await send(place, range(40))
        process = start_worker(place, tmp_path)

        async def answers() -> bool:
            assert process.poll() is None, (tmp_path / "worker.log").read_text()[-2000:]
            return len(await collector.poses()) > 5

        await until(answers)
        rabbitmq.freeze()
        try:
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(60) == 0, (tmp_path / "worker.log").read_text()[-2000:]
            assert time.monotonic() - began < DRAIN + 5
        finally:
            rabbitmq.thaw()
            process.kill()

    asyncio.run(scene())


CAMERA = {"configure": "^$", "write": r"^video_frames_exchange.*$", "read": "^$"}
RESTART = {"configure": "^$", "write": r"^restart_exchange.*$", "read": "^$"}
SUBSCRIBER = {
    "configure": "^slam3r_client_.*$",
    "write": "^slam3r_client_.*$",
    "read": "^slam3r_(client_|pose|pointcloud|keyframe|reconstruction_vis).*$",
}
WORKER = {
    "configure": "^(slam3r_|video_frames_exchange|restart_exchange|frames|dead).*$",
    "write": "^(slam3r_|frames|dead).*$",
    "read": "^(slam3r_|video_frames_exchange|restart_exchange|frames|dead).*$",
}
"""As in the README; ``frames`` and ``dead`` are what queues are called in these tests."""


def test_every_program_works_with_the_rights_of_the_readme_and_others_are_refused_by_name(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    camera = rabbitmq.add_user("camera", **CAMERA)
    operator = rabbitmq.add_user("operator", **RESTART)
    subscriber = rabbitmq.add_user("subscriber", **SUBSCRIBER)
    worker = rabbitmq.add_user("worker", **WORKER)

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(broker={"url": worker})
        async with running(place) as running_worker:
            await until(lambda: count(running_worker, "broker_connected"))
            async with (
                ServiceClient(camera, place.exchanges) as sender,
                ServiceClient(subscriber, place.exchanges) as reader,
            ):
                results = await reader.subscribe("pose", "keyframe")
                for number in range(8):
                    await sender.publish(jpeg(number), number)
                assert (await asyncio.wait_for(results.__anext__(), 120)).stream_id == "default"  # type: ignore[attr-defined]
                async with ServiceClient(operator, place.exchanges) as restarting:
                    await restarting.restart("default")
                await until(lambda: count(running_worker, "segments_closed_total", reason="restart") == 1)
                with pytest.raises(BrokerError, match="denies user 'camera' a permission") as refused:
                    await sender.subscribe("pose")
                assert "secret" not in str(refused.value)
                with pytest.raises(BrokerError, match="denies user 'subscriber' a permission"):
                    await reader.publish(jpeg(0), 100)
        with pytest.raises(BrokerError, match="denies user 'camera' a permission"):
            await run_until_it_ends(place.with_(broker={"url": camera}))
        with pytest.raises(BrokerError, match="no such virtual host"):
            await run_until_it_ends(place.with_(broker={"url": f"{worker}elsewhere"}))

    asyncio.run(scene())
