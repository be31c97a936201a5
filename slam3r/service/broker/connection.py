"""The connection to RabbitMQ: consuming, confirmed publishing, and coming back when it is gone."""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    ConnectionCommandInvalid,
    ConnectionFrameError,
    ConnectionInternalError,
    ConnectionSyntaxError,
    ConnectionUnexpectedFrame,
    DeliveryError,
    PublishError,
)

from slam3r.service.broker.errors import LOST, BrokerError, PublishRefused, refusal
from slam3r.service.broker.settle import settle
from slam3r.service.broker.topology import Topology, declare
from slam3r.service.broker.transport import Connection
from slam3r.service.metrics import Metrics
from slam3r.service.settings import BrokerSettings, Policy
from slam3r.service.timeouts import timeout
from slam3r.service.wire.codec import CONTENT_TYPE

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_CLOSE_SECONDS = 1.0
_OVER_A_MESSAGE = (
    ChannelPreconditionFailed,
    ConnectionFrameError,
    ConnectionSyntaxError,
    ConnectionCommandInvalid,
    ConnectionUnexpectedFrame,
    ConnectionInternalError,
)
"""Ends of a channel or connection that say that the broker did not understand, or not accept, what it read."""
_SUSPECT_ATTEMPTS = 3
"""Times that the broker may end the connection or the channel over one message, sent with no other suspect."""

Handler = Callable[[AbstractIncomingMessage], Awaitable[None]]


@dataclass
class _Link:
    """State of one connection."""

    connection: Connection
    channel: AbstractChannel
    topology: Topology
    lost: asyncio.Event
    consumers: list[tuple[AbstractQueue, str]] = field(default_factory=list)
    is_useful: bool = False
    """Whether a message got through."""


class Broker:
    """One worker's way to the broker. `run` keeps it connected; the rest may be called at any time."""

    def __init__(self, settings: BrokerSettings, policy: Policy, prefetch: int, metrics: Metrics) -> None:
        self._settings, self._policy, self._prefetch, self._metrics = settings, policy, prefetch, metrics
        self._link: _Link | None = None
        self._ready = asyncio.Event()
        self._consuming = True
        self._fatal: BrokerError | None = None
        self._unconfirmed: dict[int, float] = {}
        self._next_publish = 0
        self._one_suspect = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._ready.is_set()

    @property
    def unconfirmed(self) -> tuple[int, float]:
        """Messages sent without an answer from the broker, and the age in seconds of the oldest one."""
        oldest = min(self._unconfirmed.values(), default=None)
        return len(self._unconfirmed), 0.0 if oldest is None else time.monotonic() - oldest

    async def run(self, on_frame: Handler, on_restart: Handler) -> None:
        """Connect, consume, and do so again whenever the connection is lost, until cancelled. The pauses grow until a
        message gets through.

        Raises:
            BrokerError: the broker refuses what we are, what we declare or what we do.
        """
        attempt = 0
        try:
            while True:
                began, useful = time.monotonic(), False
                try:
                    self._link = link = await self._connect(on_frame, on_restart)
                    self._metrics.connections.inc()
                    self._metrics.connected.set(1)
                    self._ready.set()
                    logger.info("connected to %s", self._settings.public_address)
                    await self._watch(link)
                    useful = link.is_useful
                    logger.warning("the connection to the broker is lost")
                except LOST as error:
                    if (refused := refusal(error, self._settings.address)) is not None:
                        raise refused from None  # the cause may show the URL
                    logger.warning("no broker at %s: %s", self._settings.public_address, error or type(error).__name__)
                finally:
                    await self._disconnect()
                if self._fatal is not None:
                    raise self._fatal
                useful = useful or time.monotonic() - began > self._settings.backoff_limit_seconds
                attempt = 0 if useful else min(attempt + 1, 16)
                pause = min(self._settings.backoff_seconds * 2**attempt, self._settings.backoff_limit_seconds)
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # workers must not come back all at once
        finally:
            await self._disconnect()

    async def publish(
        self, exchange: str, body: bytes, routing_key: str = "", mandatory: bool = False, **properties: Any
    ) -> bool:
        """Return when the broker has answered, however often the connection is lost until then.

        A message is sent again only when the connection is gone or when the broker refuses it, never because the
        answer takes its time. With `mandatory` it must reach a queue; what is missing is declared again.

        Returns:
            True if the broker has confirmed it; False if a full queue refused it `refused_attempts` times. The queues
            that are not full have it then.

        Raises:
            PublishRefused: the broker can never take this message.
        """
        properties.setdefault("content_type", CONTENT_TYPE)
        # Persistent: what is confirmed must outlive the broker's restart in durable queues.
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
        number, self._next_publish = self._next_publish, self._next_publish + 1
        self._unconfirmed[number] = time.monotonic()
        try:
            return await self._publish(exchange, message, routing_key, mandatory)
        finally:
            del self._unconfirmed[number]

    async def queued_frames(self) -> int | None:
        """Frames that wait on the broker for this worker; None where the broker does not answer."""
        link = self._link
        if link is None or link.lost.is_set():
            return None
        try:
            counts = []
            for queue in link.topology.queues:
                found = await settle(link.channel.declare_queue(queue.name, passive=True), self._settings.check_seconds)
                counts.append(found.declaration_result.message_count or 0)
            return sum(counts)
        except LOST as error:
            logger.debug("queue length: %s", error)
            return None

    async def stop_consuming(self, seconds: float) -> None:
        """No more deliveries; what is delivered can still be acknowledged."""
        self._consuming = False
        link = self._link
        if link is not None and not link.lost.is_set():
            try:
                async with timeout(seconds):
                    for queue, tag in link.consumers:
                        await settle(queue.cancel(tag))
            except LOST as error:
                logger.debug("cancel: %s", error)

    async def _publish(self, exchange: str, message: aio_pika.Message, routing_key: str, mandatory: bool) -> bool:
        pause, refused, suspected = self._settings.backoff_seconds, 0, 0
        while True:
            try:
                if suspected:  # one at a time, so that it is clear which one the broker ends the connection over
                    async with self._one_suspect:
                        await self._publish_once(exchange, message, routing_key, mandatory)
                else:
                    await self._publish_once(exchange, message, routing_key, mandatory)
                return True
            except PublishError:  # mandatory, and no queue is bound: somebody has deleted it
                logger.warning("nothing is bound to the exchange %s; everything is declared again", exchange)
                await self._redeclare()
            except DeliveryError as error:
                refused += 1
                logger.debug("%s refused: %s", exchange, error)
                if refused >= self._settings.refused_attempts:
                    self._metrics.refused.labels(exchange).inc()
                    return False
            except ChannelAccessRefused as error:
                self._fail(error)
            except _OVER_A_MESSAGE as error:
                suspected += 1
                if suspected > _SUSPECT_ATTEMPTS:
                    raise PublishRefused(f"the broker ends the connection over it: {error}") from None
            except LOST as error:
                logger.debug("%s not confirmed: %s", exchange, error)
            self._metrics.retries.inc()
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._settings.backoff_limit_seconds)

    async def _publish_once(self, exchange: str, message: aio_pika.Message, key: str, mandatory: bool) -> None:
        await self._ready.wait()
        link = self._link
        if link is None:
            raise ConnectionError("no connection")
        try:
            publishing = link.topology.exchanges[exchange].publish(message, key, mandatory=mandatory)
            await settle(publishing, lost=link.lost)
        except (ValueError, TypeError, OverflowError, struct.error) as error:
            raise PublishRefused(f"it cannot be encoded: {error}") from error
        link.is_useful = True

    def _fail(self, error: BaseException) -> None:
        """End `run` with the refusal."""
        self._fatal = refusal(error, self._settings.address)
        if self._link is not None:
            self._link.lost.set()

    async def _connect(self, on_frame: Handler, on_restart: Handler) -> _Link:
        settings = self._settings
        connecting = aio_pika.connect(
            settings.address,
            timeout=settings.connect_timeout_seconds,
            heartbeat=settings.heartbeat_seconds,
            connection_class=Connection,
        )
        connection = cast(Connection, await settle(connecting, settings.connect_timeout_seconds))
        lost = asyncio.Event()
        try:
            async with timeout(settings.connect_timeout_seconds):
                channel = await settle(connection.channel(publisher_confirms=True, on_return_raises=True))
                for closing in (connection, channel):
                    closing.close_callbacks.add(lambda *_: lost.set(), weak=False)
                topology = await settle(declare(channel, settings, self._policy))
                self._link = link = _Link(connection, channel, topology, lost)  # deliveries come before `consume` ends
                await settle(channel.set_qos(prefetch_count=self._prefetch))
                if self._consuming:
                    await self._consume(link, on_frame, on_restart)
            return link
        except BaseException:
            await self._close(connection)
            raise

    async def _consume(self, link: _Link, on_frame: Handler, on_restart: Handler) -> None:
        name = f"slam3r_control_{uuid.uuid4().hex}"
        control = await settle(link.channel.declare_queue(name, exclusive=True, auto_delete=True))
        await settle(control.bind(link.topology.exchanges[self._settings.exchanges.restart], "#"))
        for queue, handler in [(control, on_restart), *((queue, on_frame) for queue in link.topology.queues)]:
            link.consumers.append((queue, await settle(queue.consume(handler))))

    async def _watch(self, link: _Link) -> None:
        """Return when the connection is of no use any more: closed, silent for two heartbeats, or a consumer is gone.

        Raises:
            AMQPError: somebody has declared our queues otherwise.
        """
        limit = 2.0 * self._settings.heartbeat_seconds
        heard, silent, checked = link.connection.socket.frames_received, 0.0, time.monotonic()
        last = time.monotonic()
        while not link.lost.is_set():
            try:
                async with timeout(_TICK_SECONDS):
                    await link.lost.wait()
            except asyncio.TimeoutError:
                pass
            now, before = time.monotonic(), last
            last = now
            received = link.connection.socket.frames_received
            # A tick counts no more than two: while this process was stopped, the broker could not be heard.
            silent = silent + min(now - before, 2 * _TICK_SECONDS) if received == heard else 0.0
            heard = received
            if limit and silent > limit:
                logger.warning("the broker has been silent for two heartbeats (%.0f s)", limit)
                return
            if not await self._has_consumers(link):
                logger.warning("the broker has ended a consumer: its queue was deleted")
                return
            if now - checked > self._settings.check_seconds:
                await self._redeclare()
                checked = time.monotonic()

    async def _has_consumers(self, link: _Link) -> bool:
        if not self._consuming:
            return True
        try:
            underlay: Any = await link.channel.get_underlay_channel()
        except LOST:
            return False
        return all(tag in underlay.consumers for _, tag in link.consumers)

    async def _redeclare(self) -> None:
        """Declare on a channel of its own whatever is missing by now; a refusal ends `run`."""
        link = self._link
        if link is None or link.lost.is_set():
            return
        try:
            async with timeout(self._settings.connect_timeout_seconds):
                channel = await settle(link.connection.channel(publisher_confirms=False))
                await settle(declare(channel, self._settings, self._policy))
                await settle(channel.close())
        except (ChannelPreconditionFailed, ChannelAccessRefused) as error:
            self._fail(error)
        except LOST as error:
            logger.warning("the queues could not be checked: %s", error or type(error).__name__)

    async def _disconnect(self) -> None:
        self._ready.clear()
        self._metrics.connected.set(0)
        link, self._link = self._link, None
        if link is not None:
            link.lost.set()
            await self._close(link.connection)

    @staticmethod
    async def _close(connection: Connection) -> None:
        """Say farewell, and after a moment close the socket, so that the library, too, gives the connection up."""
        closing = asyncio.ensure_future(connection.close())
        closing.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        await asyncio.wait({closing}, timeout=_CLOSE_SECONDS)
        connection.socket.drop()
