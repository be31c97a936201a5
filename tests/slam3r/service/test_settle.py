"""Calls of the client library end when their connection does, and a cancellation is only ever ours."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from slam3r.service.broker.settle import settle


def test_a_cancellation_inside_the_library_is_a_lost_connection() -> None:
    async def scene() -> None:
        confirmation = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, confirmation.cancel)
        with pytest.raises(ConnectionError):
            await settle(confirmation)

    asyncio.run(scene())


def test_a_call_that_the_library_has_forgotten_ends_with_the_connection_or_in_time() -> None:
    async def scene() -> None:
        lost = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, lost.set)
        with pytest.raises(ConnectionError):
            await settle(asyncio.sleep(1000), lost=lost)
        with pytest.raises(asyncio.TimeoutError):
            await settle(asyncio.sleep(1000), seconds=0.01)
        assert await settle(asyncio.sleep(0, "answer"), lost=asyncio.Event()) == "answer"
        with pytest.raises(KeyError):
            await settle(asyncio.to_thread({}.__getitem__, "missing"))

    asyncio.run(scene())


def test_a_stop_is_not_swallowed_by_a_call_that_ignores_it() -> None:
    """`asyncio.wait_for` waits for such a call, and before Python 3.12 may forget the cancellation over it."""

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(0.2)
                return
            except asyncio.CancelledError:
                continue

    async def scene() -> None:
        task = asyncio.create_task(settle(stubborn(), seconds=100))
        await asyncio.sleep(0.01)
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=0.1)
        assert not pending and task.cancelled()

    asyncio.run(scene())
