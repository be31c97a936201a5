"""Memory does not grow with the number of segments, nor do processes."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from slam3r.live.settings import MapSettings
from slam3r.reconstruction import Networks
from slam3r.service.streams.sessions import live_sessions
from tests.support.rabbitmq import RabbitMQ
from tests.support.service_worker import LIVE, Collector, count, make_place, running, send, until
from tests.support.tiny_scene import tiny_models

pytestmark = pytest.mark.slow

WARM_UP, FRAMES = 5, 6


@pytest.mark.parametrize(("segments", "mesh_and_files"), [(20, False), (50, True)])
def test_memory_and_processes_stay_flat_over_many_short_segments(
    rabbitmq: RabbitMQ, tmp_path: Path, segments: int, mesh_and_files: bool
) -> None:
    streaming = replace(LIVE.streaming, map=MapSettings(confidence=0.0))  # of the usual size: 88 MB a map
    sessions = live_sessions(Networks(*tiny_models()), replace(LIVE, streaming=streaming))

    async def scene() -> None:
        place = make_place(rabbitmq.url, tmp_path).with_(
            mesh={"enabled": mesh_and_files, "update_seconds": 0.2}, segments={"save": mesh_and_files}
        )
        await Collector(place).declare()
        process, memory, meshers = psutil.Process(), [], []
        async with running(place, sessions) as worker:
            for number in range(segments):
                first = number * 100
                await send(place, range(first, first + FRAMES), segment=f"segment {number}")
                await until(lambda: count(worker, "frames_received_total") == (number + 1) * FRAMES)  # noqa: B023
                await until(lambda: count(worker, "segments_closed_total", reason="segment") == number)  # noqa: B023
                memory.append(process.memory_info().rss)
                meshers.append(len(worker.mesh_processes))
        print("MiB after each segment:", [size >> 20 for size in memory], "mesh processes:", meshers)
        assert max(meshers) == (1 if mesh_and_files else 0)
        before, after = np.median(memory[WARM_UP : WARM_UP + 5]), np.median(memory[-5:])
        assert after < 1.05 * before

    gc.collect()
    asyncio.run(scene())
    if mesh_and_files:
        folder = (
            tmp_path / "segments"
        )  # what waited for its mesh when the worker stopped is the next worker's to publish
        assert len([*folder.glob("default/*/segment.json"), *folder.glob(".staging-*/*/segment.json")]) == segments
