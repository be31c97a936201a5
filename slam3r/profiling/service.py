"""Profile of the whole service on this machine: a running broker, a worker process, and a client.

Latency is from the moment a frame is published to the moment its pose is received.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import aio_pika
import numpy as np
from PIL import Image

from common.app.inputs import SAMPLE_FOLDER
from common.data.sources.images import read_image
from common.errors import InputError
from common.profiling.report import SpeedRow
from slam3r.live.settings import MapSettings, StreamingSettings, for_live
from slam3r.models.description import Slam3rDescription
from slam3r.profiling.service_load import LoadRecord, LoadTest
from slam3r.profiling.service_worker import WorkerProcess, free_port
from slam3r.profiling.settings import ServiceWorkload
from slam3r.reconstruction.settings import settings_for_model
from slam3r.service.client import ServiceClient, encode_jpeg
from slam3r.service.settings import (
    BrokerSettings,
    ExchangeNames,
    HttpSettings,
    IntakeSettings,
    MeshSettings,
    SegmentSettings,
    ServeConfiguration,
    ServiceSettings,
)

PICTURES = SAMPLE_FOLDER


@dataclass(frozen=True)
class Outcome:
    """Result of one load, with the outcome of every frame."""

    record: LoadRecord
    dropped: int
    """Frames dropped on purpose, as counted by the worker."""
    waiting: int
    """Frames in the broker's queue when the worker had stopped."""
    memory: int
    """Bytes resident in the worker at the end."""

    @property
    def lost(self) -> int:
        """Frames that were acknowledged and neither answered nor counted as dropped."""
        return len(self.record.sent) - len(self.record.answered) - self.dropped - self.waiting


def service_rows(
    name: str, model: Slam3rDescription, dtype: str, device: str, work: ServiceWorkload
) -> Iterator[SpeedRow]:
    """Measure the loads of `work` one after the other, each with a worker of its own; a row for each.

    Raises:
        InputError: no broker answers, or the worker does not start.
    """
    pictures = load_pictures(work.picture_size)
    rate = work.frames_per_second
    shares: dict[str, tuple[float, ...]] = {"sustained": work.sustained, "overload": (work.overload,)}
    loads = [(load, share) for load in work.loads for share in shares.get(load, (None,))]
    for (load, share), search in product(loads, work.stride_searches or (None,)):
        if rate is None and share is not None:
            raise InputError("service.frames_per_second: give it, or put 'flat out' first in service.loads")
        offered = None if share is None or rate is None else rate * share
        seconds = 0.0 if load == "founding" else work.seconds
        with tempfile.TemporaryDirectory(prefix="service-benchmark-") as folder:
            chosen = _configuration(model, dtype, device, work, Path(folder), recorded=offered is None)
            if search is not None:
                chosen = replace(chosen, reconstruction=replace(chosen.reconstruction, stride_search=search))
            outcome = asyncio.run(_measure(chosen, pictures, offered, seconds))
        yield _row(name, dtype, load if search is None else f"{load}, {search}", offered, outcome)
        if rate is None and load == "flat out":
            rate = outcome.record.answered_per_second


def load_pictures(size: tuple[int, int]) -> list[bytes]:
    """The walk through a procedural room that ships with the app, as JPEG of (height, width)."""
    height, width = size
    images = (Image.fromarray(read_image(file)) for file in sorted(PICTURES.glob("*.jpg")))
    return [encode_jpeg(np.asarray(image.resize((width, height)))) for image in images]


async def _measure(
    chosen: ServeConfiguration, pictures: Sequence[bytes], offered: float | None, seconds: float
) -> Outcome:
    broker = chosen.service.broker
    try:
        connection = await aio_pika.connect(broker.address, timeout=10)
    except (OSError, aio_pika.exceptions.AMQPError) as error:
        raise InputError(f"service.url: no broker at {broker.public_address}: {error}") from None
    async with connection:
        channel = await connection.channel()
        try:
            async with WorkerProcess(chosen) as worker, ServiceClient(broker.address, broker.exchanges) as client:
                load = LoadTest(client, pictures, worker.processor_seconds)
                await load.run(offered, seconds, chosen.reconstruction.stride_search_frames or 1)
                if offered:  # flat out, what waits goes back to the broker
                    await worker.until(lambda metrics: metrics.get("slam3r_queue_depth") == 0)
                metrics = await worker.metrics()
                await worker.stop()
                record = await load.finish()
            queue = await channel.declare_queue(broker.frame_queue, passive=True)
            waiting = queue.declaration_result.message_count or 0
        finally:
            await _clean_up(channel, broker)
    dropped = sum(value for name, value in metrics.items() if name.startswith("slam3r_frames_dropped_total"))
    return Outcome(record, int(dropped), waiting, int(metrics["slam3r_resident_memory_bytes"]))


def _configuration(
    model: Slam3rDescription, dtype: str, device: str, work: ServiceWorkload, folder: Path, recorded: bool
) -> ServeConfiguration:
    """Configuration of ``configs/serve.yaml`` with private names on the broker and a private state folder."""
    token = uuid.uuid4().hex[:8]
    names = ExchangeNames(**{key: f"{name}.{token}" for key, name in vars(ExchangeNames()).items()})
    service = ServiceSettings(
        broker=BrokerSettings(
            url=work.url, exchanges=names, frame_queue=f"frames.{token}", dead_letter_queue=f"dead.{token}"
        ),
        intake=IntakeSettings(policy="block" if recorded else "drop_oldest"),
        mesh=MeshSettings(enabled=work.mesh),
        segments=SegmentSettings(state=str(folder / "state"), checkpoint_seconds=0.0),
        http=HttpSettings(port=free_port()),
    )
    if recorded:  # the publisher waits, and a stop does not finish what waits
        service = replace(
            service,
            broker=replace(service.broker, queue_limit_frames=32),
            segments=replace(service.segments, drain_seconds=1.0),
        )
    streaming = StreamingSettings(map=MapSettings(confidence=model.confidence.registered))
    reconstruction = for_live(settings_for_model(model.confidence, model.reconstruction))
    size = (work.image_size, work.image_size)
    return ServeConfiguration(
        model=model,
        reconstruction=reconstruction,
        streaming=streaming,
        service=service,
        size=size,
        device=device,
        dtype=dtype,
        threads=work.threads,
        structured_logs=False,
    )


async def _clean_up(channel: aio_pika.abc.AbstractChannel, broker: BrokerSettings) -> None:
    for queue in (broker.frame_queue, broker.dead_letter_queue):
        await channel.queue_delete(queue)
    for exchange in vars(broker.exchanges).values():
        await channel.exchange_delete(exchange)


def _row(name: str, dtype: str, load: str, offered: float | None, outcome: Outcome) -> SpeedRow:
    record, latencies = outcome.record, outcome.record.latencies
    row = SpeedRow(name, dtype, f"service, {load}" + ("" if offered is None else f" ({offered:.3g} frames/s)"))
    row.peak_memory = outcome.memory
    if record.ended > record.started:
        row.frames_per_second = record.answered_per_second
    else:
        row.seconds = record.first_pose_seconds
    seconds, used = record.first_pose_seconds, record.first_pose_processor_seconds
    note = f"first pose after {seconds:.1f} s ({used:.1f} of processor time); "
    note += f"sent {len(record.sent)}, answered {len(record.answered)}, dropped {outcome.dropped}, lost {outcome.lost}"
    row.details = {
        "note": note,
        "offered_per_second": record.offered_per_second,
        "first_pose_seconds": record.first_pose_seconds,
        "first_pose_processor_seconds": record.first_pose_processor_seconds,
        "founding_seconds": (record.started - record.sent[0]) / 1e9,
        "sent": len(record.sent),
        "answered": len(record.answered),
        "repeated": record.repeated,
        "dropped": outcome.dropped,
        "waiting": outcome.waiting,
        "lost": outcome.lost,
        "worlds": len(record.parts),
        "processor_seconds_per_frame": record.processor_seconds_per_frame,
    }
    if offered and len(latencies):  # flat out, a frame waits as long as the broker's queue is
        p50, p90, p99 = (float(mark) for mark in np.percentile(latencies, (50, 90, 99)))
        half = (len(latencies) + 1) // 2
        first, last = float(np.median(latencies[:half])), float(np.median(latencies[-half:]))
        row.seconds = p50
        row.details["latency"] = {"p50": p50, "p90": p90, "p99": p99, "frames": len(latencies)}
        row.details["latency"] |= {"first_half": first, "last_half": last}  # the same where the rate is sustainable
        counted = f"{len(latencies)} of {len(record.counted)}"
        grows = f"median {first:.2f} s in the first half and {last:.2f} s in the last"
        row.details["note"] = f"p90 {p90:.2f} s, p99 {p99:.2f} s, {grows}, for {counted} frames; with founding: {note}"
    return row
