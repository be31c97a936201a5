"""One connection to the broker, from its opening to its loss; `slam3r.service.broker.connection` makes the next one."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from slam3r.service.broker.errors import LOST, PublishRefused
from slam3r.service.broker.settle import settle
from slam3r.service.broker.topology import Topology, declare
from slam3r.service.broker.transport import Connection
from slam3r.service.settings import BrokerSettings, Policy
from slam3r.service.timeouts import timeout

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_CLOSE_SECONDS = 1.0

Handler = Callable[[AbstractIncomingMessage], Awaitable[None]]


class Link:
    """A connection with a channel, what is declared on it, and the consumers of this worker."""

    def __init__(
        self,
        connection: Connection,
        channel: AbstractChannel,
        topology: Topology,
        settings: BrokerSettings,
        policy: Policy,
    ) -> None:
        """See `open`."""
        self._connection, self._channel, self._topology = connection, channel, topology
        self._settings, self._policy = settings, policy
        self._consumers: list[tuple[AbstractQueue, str]] = []
        self._is_consuming = False
        self.lost = asyncio.Event()
        """Set when the connection is of no use any more."""
        self.is_useful = False
        """Whether a message got through."""
        for closing in (connection, channel):
            closing.close_callbacks.add(lambda *_: self.lost.set(), weak=False)

    @classmethod
    async def open(cls, settings: BrokerSettings, policy: Policy, prefetch: int) -> Link:
        """Connect and declare everything.

        Args:
            settings: of the broker.
            policy: when the queue of frames is full.
            prefetch: deliveries without an acknowledgement.

        Raises:
            AMQPError, OSError, TimeoutError: there is no broker, or it refuses.
        """
        connecting = aio_pika.connect(
            settings.address,
            timeout=settings.connect_timeout_seconds,
            heartbeat=settings.heartbeat_seconds,
            connection_class=Connection,
        )
        connection = cast(Connection, await settle(connecting, settings.connect_timeout_seconds))
        try:
            async with timeout(settings.connect_timeout_seconds):
                channel = await settle(connection.channel(publisher_confirms=True, on_return_raises=True))
                topology = await settle(declare(channel, settings, policy))
                await settle(channel.set_qos(prefetch_count=prefetch))
            return cls(connection, channel, topology, settings, policy)
        except BaseException:
            await _close(connection)
            raise

    async def consume(self, on_frame: Handler, on_restart: Handler) -> None:
        """Begin to receive frames, and restarts by a queue of this connection alone."""
        self._is_consuming = True
        async with timeout(self._settings.connect_timeout_seconds):
            name = f"slam3r_control_{uuid.uuid4().hex}"
            control = await settle(self._channel.declare_queue(name, exclusive=True, auto_delete=True))
            await settle(control.bind(self._topology.exchanges[self._settings.exchanges.restart], "#"))
            for queue, handler in [(control, on_restart), *((queue, on_frame) for queue in self._topology.queues)]:
                self._consumers.append((queue, await settle(queue.consume(handler))))

    async def stop_consuming(self, seconds: float) -> None:
        """No more deliveries; what is delivered can still be acknowledged."""
        self._is_consuming = False
        if self.lost.is_set():
            return
        try:
            async with timeout(seconds):
                for queue, tag in self._consumers:
                    await settle(queue.cancel(tag))
        except LOST as error:
            logger.debug("cancel: %s", error)

    async def publish(self, exchange: str, message: aio_pika.Message, key: str, mandatory: bool) -> None:
        """Send a message and wait for the broker's answer, whatever it takes.

        Raises:
            PublishRefused: the message cannot be encoded.
            AMQPError, ConnectionError: the broker refuses it, or the connection is lost.
        """
        try:
            publishing = self._topology.exchanges[exchange].publish(message, key, mandatory=mandatory)
            await settle(publishing, lost=self.lost)
        except (ValueError, TypeError, OverflowError, struct.error) as error:
            raise PublishRefused(f"it cannot be encoded: {error}") from error
        self.is_useful = True

    async def queued_frames(self) -> int | None:
        """Frames that wait on the broker for this worker; None where the broker does not answer."""
        if self.lost.is_set():
            return None
        try:
            counts = []
            for queue in self._topology.queues:
                passive = self._channel.declare_queue(queue.name, passive=True)
                found = await settle(passive, self._settings.check_seconds)
                counts.append(found.declaration_result.message_count or 0)
            return sum(counts)
        except LOST as error:
            logger.debug("queue length: %s", error)
            return None

    async def redeclare(self) -> None:
        """Declare on a channel of its own whatever is missing by now.

        Raises:
            AMQPError, ConnectionError, TimeoutError: the broker refuses, or does not answer.
        """
        if self.lost.is_set():
            return
        async with timeout(self._settings.connect_timeout_seconds):
            channel = await settle(self._connection.channel(publisher_confirms=False))
            await settle(declare(channel, self._settings, self._policy))
            await settle(channel.close())

    async def watch(self, check: Callable[[], Awaitable[None]]) -> None:
        """Return when the connection is of no use any more: closed, silent for two heartbeats, or a consumer is gone.

        Args:
            check: awaited every `BrokerSettings.check_seconds`.
        """
        limit = 2.0 * self._settings.heartbeat_seconds
        heard, silent, checked = self._connection.socket.frames_received, 0.0, time.monotonic()
        last = time.monotonic()
        while not self.lost.is_set():
            try:
                async with timeout(_TICK_SECONDS):
                    await self.lost.wait()
            except asyncio.TimeoutError:
                pass
            now, before = time.monotonic(), last
            last = now
            received = self._connection.socket.frames_received
            # A tick counts no more than two: while this process was stopped, the broker could not be heard.
            silent = silent + min(now - before, 2 * _TICK_SECONDS) if received == heard else 0.0
            heard = received
            if limit and silent > limit:
                logger.warning("the broker has been silent for two heartbeats (%.0f s)", limit)
                return
            if not await self._has_consumers():
                logger.warning("the broker has ended a consumer: its queue was deleted")
                return
            if now - checked > self._settings.check_seconds:
                await check()
                checked = time.monotonic()

    async def close(self) -> None:
        """Say farewell, and after a moment close the socket, so that the library, too, gives the connection up."""
        self.lost.set()
        await _close(self._connection)

    async def _has_consumers(self) -> bool:
        if not self._is_consuming:
            return True
        try:
            underlay: Any = await self._channel.get_underlay_channel()
        except LOST:
            return False
        return all(tag in underlay.consumers for _, tag in self._consumers)


async def _close(connection: Connection) -> None:
    closing = asyncio.ensure_future(connection.close())
    closing.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    await asyncio.wait({closing}, timeout=_CLOSE_SECONDS)
    connection.socket.drop()
