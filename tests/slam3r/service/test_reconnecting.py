"""A worker that cannot get through to its broker."""

from __future__ import annotations

import asyncio
import time

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from slam3r.service.broker.connection import Broker
from slam3r.service.metrics import Metrics
from slam3r.service.settings import BrokerSettings


def test_pauses_between_connections_grow() -> None:
    """A fault that ends every connection, such as one message, must not make the worker connect without a pause."""
    calls: list[float] = []

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(time.monotonic())
        writer.close()

    async def ignore(_: object) -> None:
        pass

    async def scene() -> None:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = BrokerSettings(url=f"amqp://127.0.0.1:{port}/", backoff_seconds=0.05, backoff_limit_seconds=0.5)
        running = asyncio.create_task(Broker(settings, "block", 10, Metrics()).run(ignore, ignore))
        while len(calls) < 5 and not running.done():
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.close()

    asyncio.run(scene())
    # Pauses of 0.1, 0.2, 0.4 and 0.5 s, each off by 30 % at most; without growth they would be 0.2 s together.
    assert calls[4] - calls[0] > 0.7 * 1.2
