"""No single message stops the service, whatever it is made of. On a real RabbitMQ."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

import aio_pika

from slam3r.service.broker.connection import Broker
from slam3r.service.broker.errors import PublishRefused
from slam3r.service.client import ServiceClient
from slam3r.service.metrics import Metrics
from slam3r.service.results import publisher
from slam3r.service.worker import Worker
from tests.support.rabbitmq import RabbitMQ
from tests.support.raw_amqp import HEADERS, TIMESTAMP, nested_tables, publish_raw, table
from tests.support.service_worker import (
    LIVE,
    Collector,
    Place,
    count,
    dead_letters,
    jpeg,
    make_place,
    queue_length,
    running,
    send,
    until,
)
from tests.support.slow_session import sessions_that

pytestmark = pytest.mark.slow


async def _is_done_with(place: Place) -> None:
    """Every frame has been acknowledged: nothing is in the queue when no worker runs."""
    assert await queue_length(place, place.settings.broker.frame_queue) == 0


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_names_of_the_longest_permitted_length(rabbitmq: RabbitMQ, tmp_path: Path, letter: str) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True})
        name = letter * (128 // len(letter.encode()))
        collector = Collector(place)
        await collector.declare()
        for first in (0, 20):  # and so is the next worker
            async with running(place) as worker:
                await send(place, range(first, first + 8), stream_id=name, segment=name)
                await until(lambda: count(worker, "frames_published_total") >= 4)
        assert await collector.poses() == dict.fromkeys([*range(8), *range(20, 28)], 1)
        assert {(m.stream_id, m.segment) for m in collector.messages} == {(name, name)}
        assert [b.part for b in collector.of("segment_boundary")] == [0, 1]
        async with ServiceClient(place.url, place.exchanges) as client:
            with pytest.raises(ValueError, match="128 bytes"):
                await client.publish(jpeg(0), 0, stream_id=name + letter)
        await _is_done_with(place)

    asyncio.run(scene())


def test_properties_that_the_client_library_cannot_decode(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Such a message used to end every connection, to be delivered again with the next one, and so for ever."""
    bad = {
        b"nanoseconds": (TIMESTAMP, (1_700_000_000_000_000_000).to_bytes(8, "big")),
        b"nested": (HEADERS, nested_tables(3000)),
        b"key": (HEADERS, table(b"\xff\xfe", b"I" + bytes(4))),
    }

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        await send(place, range(6))
        for body, (flags, properties) in bad.items():
            await asyncio.to_thread(publish_raw, place.url, place.exchanges.frames, flags, properties, body)
        await send(place, range(6, 12))
        async with running(place) as worker:
            await until(lambda: count(worker, "frames_published_total") >= 8)
            await until(lambda: count(worker, "frames_dropped_total", reason="poison") == len(bad))
            assert count(worker, "broker_connections_total") == 1
        assert await collector.poses() == dict.fromkeys(range(12), 1)
        letters = await dead_letters(place)
        assert {letter.body for letter in letters} == set(bad)
        assert all("cannot be decoded" in str(letter.headers["reason"]) for letter in letters)
        await _is_done_with(place)

    asyncio.run(scene())


def test_a_dead_letter_with_as_many_headers_as_amqp_permits(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """With the reason among them they would exceed a frame of AMQP, and the broker would end the connection."""

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        connection = await aio_pika.connect(place.url)
        async with connection:
            exchange = await (await connection.channel()).get_exchange(place.exchanges.frames)
            headers = {f"header-{number}": "x" * 1000 for number in range(128)}
            await exchange.publish(aio_pika.Message(b"no image", headers={**headers, "timestamp_ns": 3}), "")
        await send(place, range(8))  # a good frame with the same timestamp among them
        async with running(place) as worker:
            await until(lambda: count(worker, "frames_published_total") >= 4)
            await until(lambda: count(worker, "frames_dropped_total", reason="poison") == 1)
            assert count(worker, "broker_connections_total") == 1
        assert await collector.poses() == dict.fromkeys(range(8), 1)
        (letter,) = await dead_letters(place)
        assert letter.body == b"no image" and set(letter.headers) == {"reason", "timestamp_ns"}

    asyncio.run(scene())


def test_a_message_that_the_broker_can_never_take_is_given_up_and_holds_nobody_else_up(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        broker, exchange = Broker(place.settings.broker, "block", 10, Metrics()), place.exchanges.pose

        async def ignore(message: object) -> None:
            pass

        task = asyncio.create_task(broker.run(ignore, ignore))
        try:
            with pytest.raises(PublishRefused, match="encoded"):
                await broker.publish(exchange, b"", message_id="x" * 300)
            too_large = broker.publish(exchange, b"", headers={"x": "y" * 200_000})  # more than a frame
            good = [broker.publish(exchange, b"") for _ in range(20)]
            results = await asyncio.wait_for(asyncio.gather(too_large, *good, return_exceptions=True), 120)
            assert isinstance(results[0], PublishRefused)
            assert results[1:] == [True] * 20
            assert await broker.publish(exchange, b"")
            assert broker.unconfirmed == (0, 0.0)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scene())


def test_a_result_that_cannot_be_encoded_is_left_out(
    rabbitmq: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publisher.outgoing

    def broken(result, *arguments):
        if result.key.timestamp_ns == 5:
            raise TypeError("not today")
        return real(result, *arguments)

    monkeypatch.setattr(publisher, "outgoing", broken)

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        async with running(place) as worker:
            await send(place, range(10))
            await until(lambda: count(worker, "frames_published_total") >= 6)
        assert count(worker, "results_unpublished_total") == 1
        assert await collector.poses() == dict.fromkeys([n for n in range(10) if n != 5], 1)
        await _is_done_with(place)

    asyncio.run(scene())


def _die_of(names: list[str]) -> None:
    if "5" in names:
        os._exit(9)


def _mortal_worker(place: Place) -> None:
    """Runs until a frame kills it, or until all frames are answered or moved aside."""

    async def scene() -> None:
        worker = Worker(place.settings, LIVE, sessions_that(_die_of), threshold=0.0)
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        await until(lambda: count(worker, "frames_dropped_total", reason="poison") == 1)
        await until(lambda: not count(worker, "queue_depth"))
        stop.set()
        await task

    asyncio.run(scene())


def test_a_frame_that_kills_the_worker_costs_three_workers_and_no_other_frame(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path)
        collector = Collector(place)
        await collector.declare()
        await send(place, range(12))
        codes = []
        while not codes or codes[-1]:
            process = multiprocessing.get_context("spawn").Process(target=_mortal_worker, args=(place,))
            process.start()
            await asyncio.to_thread(process.join, 300)
            codes.append(process.exitcode)
            assert len(codes) < 6
        assert codes == [9, 9, 9, 0]
        (letter,) = await dead_letters(place)
        assert letter.headers["timestamp_ns"] == "5" and "died 3 times" in str(letter.headers["reason"])
        assert set(await collector.poses()) == set(range(12)) - {5}
        await _is_done_with(place)

    asyncio.run(scene())
