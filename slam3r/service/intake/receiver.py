"""Sorting of deliveries: frames for the queue, duplicates, and dead letters."""

from __future__ import annotations

import logging

from aio_pika.abc import AbstractIncomingMessage

from slam3r.service.intake.acknowledge import acknowledge
from slam3r.service.intake.dead_letters import DeadLetters
from slam3r.service.intake.entrance import Entrance
from slam3r.service.intake.frames import PoisonFrame, read_key, read_restart
from slam3r.service.intake.idle import IdleWatch
from slam3r.service.intake.line import Restart

logger = logging.getLogger(__name__)


class Receiver:
    """The handlers of the two queues that a worker consumes."""

    def __init__(self, entrance: Entrance, idle: IdleWatch, dead_letters: DeadLetters) -> None:
        self._entrance, self._idle, self._dead_letters = entrance, idle, dead_letters

    async def on_frame(self, message: AbstractIncomingMessage) -> None:
        """Take a delivery of the queue of frames."""
        metrics = self._entrance.metrics
        metrics.received.inc()
        try:
            key = read_key(message.headers)
        except PoisonFrame as error:
            self._dead_letters.send(message, None, str(error))
            return
        self._idle.delivered(key.stream_id)
        offered = self._entrance.ledger.offer(key, message)
        if offered == "new":
            await self._entrance.take(key, message)
            return
        metrics.duplicates.inc()
        if offered == "done":
            await acknowledge([message])

    async def on_restart(self, message: AbstractIncomingMessage) -> None:
        """Take a message of the restart exchange; see `read_restart`."""
        await acknowledge([message])
        try:
            stream = read_restart(message.body)
        except ValueError as error:
            logger.warning("a message on the restart exchange is ignored: %s", error)
            return
        logger.info("restart of %s", "all streams" if stream is None else f"stream {stream}")
        self._entrance.line.put(Restart(stream))
