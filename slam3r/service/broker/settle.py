"""Awaiting calls of the AMQP client library so that its cancellations are not mistaken for ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from slam3r.service.timeouts import timeout

T = TypeVar("T")


async def settle(work: Awaitable[T], seconds: float | None = None, lost: asyncio.Event | None = None) -> T:
    """Await a call of the client library in a task of its own.

    When a connection breaks, the library cancels the futures that wait on it, and a `CancelledError` comes out of the
    call although nobody cancelled the caller. Here it becomes a `ConnectionError`; a cancellation of the caller stays
    one, and takes effect at once even if the call does not react to it.

    Args:
        work: the call.
        seconds: that it may take; None for any time.
        lost: is set when the connection is given up. The library does not always notice, and the call would never end.

    Raises:
        ConnectionError: the connection is gone.
        asyncio.TimeoutError: the call took longer than `seconds`.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_retrieve)
    waiting: set[asyncio.Future] = {task}
    if lost is not None:
        waiting.add(asyncio.ensure_future(lost.wait()))
    try:
        async with timeout(seconds):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() or task.cancelled():
            raise ConnectionError("the connection is gone")
        return task.result()
    finally:
        for future in waiting:
            future.cancel()


def _retrieve(task: asyncio.Future) -> None:
    """Keep asyncio from reporting the error of a call that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
