"""The way to RabbitMQ: one connection after the other, and confirmed publishing over whichever there is."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

import aio_pika
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
from slam3r.service.broker.link import Handler, Link
from slam3r.service.metrics import Metrics
from slam3r.service.settings import BrokerSettings, Policy
from slam3r.service.wire.codec import CONTENT_TYPE

logger = logging.getLogger(__name__)

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


class Broker:
    """One worker's way to the broker. `run` keeps it connected; the rest may be called at any time."""

    def __init__(self, settings: BrokerSettings, policy: Policy, prefetch: int, metrics: Metrics) -> None:
        self._settings, self._policy, self._prefetch, self._metrics = settings, policy, prefetch, metrics
        self._link: Link | None = None
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
                    self._link = link = await Link.open(self._settings, self._policy, self._prefetch)
                    if self._consuming:
                        await link.consume(on_frame, on_restart)
                    self._metrics.connections.inc()
                    self._metrics.connected.set(1)
                    self._ready.set()
                    logger.info("connected to %s", self._settings.public_address)
                    await link.watch(self._redeclare)
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
        return None if self._link is None else await self._link.queued_frames()

    async def stop_consuming(self, seconds: float) -> None:
        """No more deliveries; what is delivered can still be acknowledged."""
        self._consuming = False
        if self._link is not None:
            await self._link.stop_consuming(seconds)

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
        if self._link is None:
            raise ConnectionError("no connection")
        await self._link.publish(exchange, message, key, mandatory)

    def _fail(self, error: BaseException) -> None:
        """End `run` with the refusal."""
        self._fatal = refusal(error, self._settings.address)
        if self._link is not None:
            self._link.lost.set()

    async def _redeclare(self) -> None:
        """Declare whatever is missing by now; a refusal ends `run`."""
        try:
            if self._link is not None:
                await self._link.redeclare()
        except (ChannelPreconditionFailed, ChannelAccessRefused) as error:
            self._fail(error)
        except LOST as error:
            logger.warning("the queues could not be checked: %s", error or type(error).__name__)

    async def _disconnect(self) -> None:
        self._ready.clear()
        self._metrics.connected.set(0)
        link, self._link = self._link, None
        if link is not None:
            await link.close()
