"""A worker in the test's own process, with random networks, and what a test needs around it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aio_pika
import numpy as np
import psutil

from common.geometry.calibration import Calibration
from slam3r.live.settings import LiveSettings, MapSettings, StreamingSettings, TrackingSettings, for_live
from slam3r.reconstruction import Networks, ReconstructionSettings
from slam3r.service.broker.topology import queue_arguments
from slam3r.service.client import ServiceClient, encode_jpeg
from slam3r.service.settings import (
    BrokerSettings,
    ExchangeNames,
    IntakeSettings,
    MeshSettings,
    SegmentSettings,
    ServiceSettings,
)
from slam3r.service.streams.sessions import SessionFactory, live_sessions
from slam3r.service.wire.messages import Message, decode
from slam3r.service.worker import Worker
from tests.support.script_runs import SCRIPTS, random_model
from tests.support.tiny_scene import tiny_models

LIMIT_SECONDS = float(os.environ.get("SERVICE_TEST_SECONDS", "300"))
"""For what should take a moment: only a test that would never end runs into it."""

LIVE = LiveSettings(
    for_live(
        ReconstructionSettings(
            keyframe_stride=1,
            stride_max=1,
            window_radius=2,
            initial_window=3,
            num_scene_frames=3,
            buffer_size=5,
            initial_confidence=0,
            weak_confidence=0,
            max_frames_per_round=2,
        )
    ),
    StreamingSettings(tracking=TrackingSettings(reinitialise_after=0), map=MapSettings(20_000, confidence=0.0)),
    size=(32, 32),
)

REFINING = LiveSettings(LIVE.reconstruction, replace(LIVE.streaming, refine=True, refine_frames=6), LIVE.size)
"""The same with refinement of closed segments, where they are saved."""


def random_sessions(live: LiveSettings = LIVE) -> SessionFactory:
    """Sessions on random networks, the same every time."""
    return live_sessions(Networks(*tiny_models()), live)


def jpeg(number: int) -> bytes:
    """Frame `number` of an endless video."""
    rows, columns = np.mgrid[0:48, 0:64]
    waves = [np.sin(rows / 5 + number / 9), np.cos(columns / 7 - number / 9), np.sin((rows + columns) / 9)]
    return encode_jpeg((np.stack(waves, -1) * 127 + 128).astype(np.uint8))


@dataclass
class Place:
    """Names on the broker and folders that no other test uses."""

    url: str
    settings: ServiceSettings

    @property
    def exchanges(self) -> ExchangeNames:
        return self.settings.broker.exchanges

    def with_(self, **changes: Any) -> Place:
        """Other settings in one or more of the groups: ``intake={"batch": 1}``."""
        groups = {name: replace(getattr(self.settings, name), **values) for name, values in changes.items()}
        return replace(self, settings=replace(self.settings, **groups))


def make_place(url: str, folder: Path) -> Place:
    """A new place for a test."""
    token = uuid.uuid4().hex[:8]
    names = ExchangeNames(**{key: f"{value}.{token}" for key, value in vars(ExchangeNames()).items()})
    broker = BrokerSettings(
        url=url,
        exchanges=names,
        frame_queue=f"frames.{token}",
        dead_letter_queue=f"dead.{token}",
        backoff_seconds=0.1,
        backoff_limit_seconds=1.0,
    )
    settings = ServiceSettings(
        broker=broker,
        intake=IntakeSettings(policy="block"),
        mesh=MeshSettings(enabled=False),
        segments=SegmentSettings(folder=str(folder / "segments"), state=str(folder / "state"), checkpoint_seconds=0),
    )
    return Place(url, settings)


@asynccontextmanager
async def running(
    place: Place,
    make_session: SessionFactory | None = None,
    calibration: Calibration | None = None,
    live: LiveSettings = LIVE,
) -> AsyncIterator[Worker]:
    """A worker that runs while the block does, and is then stopped gracefully."""
    worker = Worker(place.settings, live, make_session or random_sessions(live), threshold=0.0, calibration=calibration)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await asyncio.wait_for(task, LIMIT_SECONDS)


async def run_until_it_ends(place: Place) -> None:
    """A worker that is not told to stop; raises what ends it."""
    worker = Worker(place.settings, LIVE, random_sessions(), threshold=0.0)
    await asyncio.wait_for(worker.run(asyncio.Event()), LIMIT_SECONDS)


class Collector:
    """Durable queues behind the exchanges of results, so that nothing published is missed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.messages: list[Message] = []

    async def declare(self) -> None:
        """Before anything is published."""
        connection = await aio_pika.connect(self._place.url)
        async with connection:
            channel = await connection.channel()
            names = self._place.exchanges
            for kind in ("pose", "visualization"):
                exchange = await channel.declare_exchange(getattr(names, kind), "fanout", durable=True)
                queue = await channel.declare_queue(f"collect.{getattr(names, kind)}", durable=True)
                await queue.bind(exchange)
            # The worker's own, so that frames may come before it does.
            settings = self._place.settings
            frames = await channel.declare_exchange(names.frames, "fanout", durable=True)
            if settings.broker.partitions == 1:
                arguments = queue_arguments(settings.broker, settings.intake.policy)
                queue = await channel.declare_queue(settings.broker.frame_queue, durable=True, arguments=arguments)
                await queue.bind(frames)

    async def read(self) -> list[Message]:
        """All messages so far."""
        connection = await aio_pika.connect(self._place.url)
        async with connection:
            channel = await connection.channel()
            for kind in ("pose", "visualization"):
                queue = await channel.declare_queue(f"collect.{getattr(self._place.exchanges, kind)}", passive=True)
                while (message := await queue.get(fail=False, no_ack=True)) is not None:
                    self.messages.append(decode(message.body, message.content_encoding))
        return self.messages

    async def poses(self) -> Counter[int]:
        """Number of pose messages for each timestamp."""
        return Counter(m.timestamp_ns for m in await self.read() if m.TYPE == "pose")  # type: ignore[attr-defined]

    def of(self, kind: str) -> list[Any]:
        """Messages of a type among those read."""
        return [message for message in self.messages if kind == message.TYPE]


async def queue_length(place: Place, name: str) -> int:
    """Messages that are ready in a queue."""
    connection = await aio_pika.connect(place.url)
    async with connection:
        queue = await (await connection.channel()).declare_queue(name, passive=True)
        return queue.declaration_result.message_count or 0


async def has_no_worker(place: Place) -> bool:
    """Whether the broker knows that the worker is gone, and has taken back what it had not acknowledged."""
    connection = await aio_pika.connect(place.url)
    async with connection:
        queue = await (await connection.channel()).declare_queue(place.settings.broker.frame_queue, passive=True)
        return queue.declaration_result.consumer_count == 0


async def dead_letters(place: Place) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """Contents of the dead-letter queue."""
    connection = await aio_pika.connect(place.url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(place.settings.broker.dead_letter_queue, passive=True)
        found = []
        while (message := await queue.get(fail=False, no_ack=True)) is not None:
            found.append(message)
        return found


async def send(place: Place, numbers: Iterable[int], **names: Any) -> None:
    """Publish frames; their timestamps are their numbers."""
    async with ServiceClient(place.url, place.exchanges) as client:
        for number in numbers:
            await client.publish(jpeg(number), number, **names)


async def until(condition: Callable[[], Any], seconds: float = LIMIT_SECONDS) -> None:
    """Wait until a condition holds; it may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        held = condition()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
        await asyncio.sleep(0.1)


def count(worker: Worker, name: str, **labels: str) -> float:
    """A metric of the worker."""
    return worker.metrics.registry.get_sample_value(f"slam3r_{name}", labels) or 0.0


def helpers_of(worker: int) -> list[psutil.Process]:
    """Processes that mesh or refine for a worker, by its id."""
    helpers = []
    for child in psutil.Process(worker).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            helpers += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return helpers


def waiting_to_be_refined(folder: Path) -> list[Path]:
    """Notes of segments that wait for their refinement."""
    return list((folder / "segments").glob(".staging-*/*.json"))


def start_worker(place: Place, folder: Path, live: LiveSettings = LIVE, before: str = "") -> subprocess.Popen:
    """A worker in a process of its own, by ``scripts/serve.py``, with random weights; its log is ``worker.log``.

    Args:
        place: of the worker.
        folder: for the log and the weights.
        live: of the sessions; only whether segments are refined counts.
        before: statements that the process runs first, to break something.
    """
    broker, segments = place.settings.broker, place.settings.segments
    overrides = {
        "device": "cpu",
        "dtype": "float32",
        "size": "[32,32]",
        "threads": 1,
        "service.broker.frame_queue": broker.frame_queue,
        "service.broker.dead_letter_queue": broker.dead_letter_queue,
        "service.broker.partitions": broker.partitions,
        "service.intake.policy": place.settings.intake.policy,
        "service.intake.batch": 1,
        "service.mesh.enabled": place.settings.mesh.enabled,
        "service.segments.save": segments.save,
        "service.segments.folder": segments.folder,
        "service.segments.state": segments.state,
        "service.segments.checkpoint_seconds": segments.checkpoint_seconds,
        "service.segments.drain_seconds": segments.drain_seconds,
        "service.segments.idle_seconds": segments.idle_seconds,
        "service.http.enabled": "false",
        "streaming.refine": live.streaming.refine,
        "streaming.refine_frames": live.streaming.refine_frames,
        **{f"service.broker.exchanges.{name}": value for name, value in vars(place.exchanges).items()},
    }
    chosen = ("keyframe_stride", "stride_max", "window_radius", "initial_window", "num_scene_frames", "buffer_size")
    overrides |= {f"reconstruction.{name}": getattr(LIVE.reconstruction, name) for name in chosen}
    overrides |= {f"reconstruction.{name}": 0 for name in ("initial_confidence", "weak_confidence")}
    given = [f"{key}={value}" for key, value in overrides.items()]
    program = [str(SCRIPTS / "serve.py")]
    if before:
        program = ["-c", f"{before}\nimport runpy, sys\nrunpy.run_path(sys.argv.pop(1), run_name='__main__')", *program]
    command = [sys.executable, *program, *random_model(folder / "weights"), *given]
    environment = {**os.environ, "RABBITMQ_URL": place.url, "OMP_NUM_THREADS": "1"}
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
