"""Moving frames aside that can never be used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from slam3r.service.broker.connection import Broker
from slam3r.service.broker.errors import PublishRefused
from slam3r.service.frame_key import FrameKey
from slam3r.service.intake.acknowledge import acknowledge
from slam3r.service.intake.entrance import Entrance
from slam3r.service.intake.frames import Delivery

logger = logging.getLogger(__name__)

_COPIED = ("timestamp_ns", "stream_id", "video_segment")
_LONGEST_TEXT = 500
_LONGEST_TYPE = 100


class DeadLetters:
    """Publishes frames to the dead-letter queue, each with the reason, and only then acknowledges them."""

    def __init__(self, exchange: str, broker: Broker, entrance: Entrance) -> None:
        """
        Args:
            exchange: of dead letters.
            broker: where to.
            entrance: takes a good frame that came under the same key in the meantime.
        """
        self._exchange, self._broker, self._entrance = exchange, broker, entrance
        self._tasks: set[asyncio.Task] = set()

    def send(self, message: Delivery, key: FrameKey | None, reason: str) -> None:
        """Move a frame aside, beside the stream.

        Args:
            message: the delivery.
            key: None where the headers do not tell.
            reason: for the header of that name.
        """
        logger.warning("frame to the dead-letter queue: %s", reason, extra={"timestamp_ns": key and key.timestamp_ns})
        task = asyncio.create_task(self._move(message, key, reason))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def drain(self, seconds: float) -> None:
        """Wait for the frames on their way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=max(0.0, seconds))

    def close(self) -> None:
        """Give up the frames on their way; the broker delivers them again."""
        for task in self._tasks:
            task.cancel()

    async def _move(self, message: Delivery, key: FrameKey | None, reason: str) -> None:
        headers = {**bounded_headers(message.headers), "reason": reason[:_LONGEST_TEXT]}
        kind = getattr(message, "content_type", None)
        kind = kind if isinstance(kind, str) and len(kind) <= _LONGEST_TYPE else None
        try:
            await self._broker.publish(
                self._exchange,
                message.body,
                mandatory=True,
                headers=headers,
                content_type=kind or "application/octet-stream",
            )
        except PublishRefused as error:
            logger.error("the broker does not even take it as a dead letter, it is discarded: %s", error)
        self._entrance.metrics.dropped.labels("poison").inc()
        other = None if key is None else self._entrance.ledger.refuse(key, message)
        await acknowledge([message])
        if key is not None and other is not None:
            await self._entrance.take(key, other)

    def _done(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a dead letter was not moved", exc_info=task.exception())


def bounded_headers(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """Copy the headers that identify a frame, as text of bounded length: all of them together may be too much for one
    frame of AMQP."""
    copied = {}
    for name in _COPIED:
        value = (headers or {}).get(name)
        if value is not None:
            text = value.decode(errors="replace") if isinstance(value, (bytes, bytearray)) else str(value)
            copied[name] = text[:_LONGEST_TEXT]
    return copied
