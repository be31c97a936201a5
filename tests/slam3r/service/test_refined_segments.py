"""Segments that the service refines when they have ended, on a real RabbitMQ, beside the frames of the next one."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.errors import InputError
from slam3r.service.segments.refinements import RefinedSegment, SegmentRefinements
from slam3r.service.worker import Worker
from tests.support.rabbitmq import RabbitMQ
from tests.support.service_worker import (
    LIMIT_SECONDS,
    LIVE,
    REFINING,
    Collector,
    count,
    helpers_of,
    make_place,
    random_sessions,
    running,
    send,
    start_worker,
    until,
    waiting_to_be_refined,
)


def told(collector: Collector, segment: str) -> list[tuple]:
    """Messages about the refinement of a segment."""
    refined = [message for message in collector.of("segment_refined") if message.segment == segment]
    return [(message.folder, message.applied, message.verdict) for message in refined]


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
            await until(lambda: waiting_to_be_refined(tmp_path) == [])
        assert await collector.poses() == dict.fromkeys(range(20), 1)
        verdict = json.loads(about.read_text())["verdict"]
        # Networks with random weights: the point is that the pictures were looked at, and that the verdict says so.
        assert 2 <= verdict["frames_checked"] <= 6 and verdict["reason"]
        assert told(collector, "a") == [(str(about.parent), False, verdict["sentence"])]

    asyncio.run(scene())


@pytest.mark.slow
def test_segments_that_wait_for_refinement_when_the_worker_stops_are_refined_by_the_next(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True})

    async def scene() -> None:
        collector = Collector(place)
        await collector.declare()
        async with running(place, live=REFINING) as worker:
            for number, name in enumerate("ab"):
                await send(place, range(20 * number, 20 * number + 6), segment=name, stream_id="default")
            await send(place, [40], segment="c", stream_id="default")
            await until(lambda: count(worker, "segments_closed_total", reason="segment") == 2)
            # Published, and refinement takes a while to start.
            await until(lambda: len(waiting_to_be_refined(tmp_path)) == 2)
        assert await collector.read() and told(collector, "a") == told(collector, "b") == []
        async with running(place, live=REFINING):
            await until(lambda: waiting_to_be_refined(tmp_path) == [])
        await collector.read()
        assert len(told(collector, "a")) == len(told(collector, "b")) == 1
        for name in "ab":
            assert "verdict" in json.loads((tmp_path / "segments" / "default" / name / "segment.json").read_text())

    asyncio.run(scene())


@pytest.mark.slow
def test_a_killed_worker_takes_its_processes_with_it_and_the_next_refines_again(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    place = make_place(rabbitmq.url, tmp_path).with_(segments={"save": True}, mesh={"enabled": True})
    about = tmp_path / "segments" / "default" / "a" / "segment.json"

    async def scene() -> None:
        collector = Collector(place)
        await collector.declare()
        first = start_worker(place, tmp_path, REFINING)
        try:
            for number, name in enumerate("ab"):
                await send(place, range(20 * number, 20 * number + 8), segment=name, stream_id="default")
            # One process meshes, one refines.
            await until(lambda: waiting_to_be_refined(tmp_path) and len(helpers_of(first.pid)) == 2)
            children = psutil.Process(first.pid).children(recursive=True)
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        _, alive = psutil.wait_procs(children, timeout=LIMIT_SECONDS)  # a moment, but for one that still imports torch
        assert alive == [] and waiting_to_be_refined(tmp_path)
        assert "verdict" not in json.loads(about.read_text()), "it went on without its worker"
        second = start_worker(place, tmp_path, REFINING)
        try:
            await until(lambda: waiting_to_be_refined(tmp_path) == [])
            await send(place, range(40, 48), segment="c", stream_id="default")
            await until(lambda: helpers_of(second.pid))  # it meshes again
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(LIMIT_SECONDS) == 0, (tmp_path / "worker.log").read_text()[-2000:]
        await collector.read()
        assert len(told(collector, "a")) == 1
        assert "verdict" in json.loads(about.read_text())

    asyncio.run(scene())


def test_what_cannot_be_refined_any_more_is_said_and_does_not_stop_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def nobody(_: RefinedSegment) -> None:
        raise AssertionError("there is nothing to tell")

    staging = tmp_path / ".staging-w"
    staging.mkdir()
    notes = {"a": "{", "b": "[" * 100_000, "c": json.dumps({"folder": str(tmp_path / "removed")}), "d": '{"folder": 1}'}
    for name, text in notes.items():
        (staging / f"{name * 32}.json").write_text(text)
        (staging / f"{name * 32}.npz").write_bytes(b"")
    (staging / f"{'e' * 32}.npz").write_bytes(b"of a segment that never got its folder")
    SegmentRefinements(staging, None, nobody).recover()
    assert list(staging.iterdir()) == []
    assert len([line for line in caplog.messages if "is not refined" in line]) == 4


@pytest.mark.parametrize("streaming", [{"refine": True}, {"disk_map": "maps"}])
def test_what_a_service_cannot_do_is_said_at_once(tmp_path: Path, streaming: dict) -> None:
    place = make_place("amqp://localhost/", tmp_path)
    live = replace(LIVE, streaming=replace(LIVE.streaming, **streaming))

    async def scene() -> None:
        with pytest.raises(InputError, match=rf"streaming\.{next(iter(streaming))} .* service\.segments\.save=true"):
            Worker(place.settings, live, random_sessions(live), threshold=0.0)

    asyncio.run(scene())
