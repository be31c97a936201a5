"""The connection to RabbitMQ: topology, confirmed publishing, consuming, and coming back when it is gone.

Frames: the fanout exchange feeds one durable queue, or, with several partitions, a consistent-hash exchange on the
header ``stream_id`` (plugin ``rabbitmq_consistent_hash_exchange``) with a queue per partition. Every queue has a single
active consumer, so a stream is always with one worker, and another one takes over when that worker is gone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed, DeliveryError, ProbableAuthenticationError

from common.errors import InputError
from slam3r.service.metrics import Metrics
from slam3r.service.settings import BrokerSettings, Policy
from slam3r.service.wire.codec import CONTENT_TYPE

logger = logging.getLogger(__name__)

HASH_HEADER = "stream_id"
_LOST = (AMQPError, ConnectionError, OSError, RuntimeError, asyncio.TimeoutError)
"""What aio-pika raises when a connection or a channel is gone; RuntimeError is its invalid channel state."""

Handler = Callable[[AbstractIncomingMessage], Awaitable[None]]


class BrokerError(InputError):
    """The broker cannot be used as it is: wrong credentials, an untrusted certificate, or queues declared otherwise
    before."""


@dataclass
class _Link:
    """What belongs to one connection."""

    connection: aio_pika.abc.AbstractConnection
    channel: AbstractChannel
    exchanges: dict[str, AbstractExchange]
    queues: list[AbstractQueue]
    lost: asyncio.Event
    consumers: list[tuple[AbstractQueue, str]]


class Broker:
    """One worker's way to the broker. `run` keeps it connected; the rest may be called at any time."""

    def __init__(self, settings: BrokerSettings, policy: Policy, prefetch: int, metrics: Metrics) -> None:
        self._settings, self._policy, self._prefetch, self._metrics = settings, policy, prefetch, metrics
        self._link: _Link | None = None
        self._ready = asyncio.Event()
        self._consuming = True

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._ready.is_set()

    async def run(self, on_frame: Handler, on_restart: Handler) -> None:
        """Connect, consume, and do so again whenever the connection is lost, after growing pauses, until cancelled.

        Raises:
            BrokerError: the broker refuses what we are or what we declare.
        """
        attempt = 0
        try:
            while True:
                try:
                    self._link = await self._connect(on_frame, on_restart)
                    attempt = 0
                    self._metrics.connections.inc()
                    self._metrics.connected.set(1)
                    self._ready.set()
                    logger.info("connected to %s", self._settings.public_address)
                    await self._link.lost.wait()
                    logger.warning("the connection to the broker is lost")
                except (ChannelPreconditionFailed, ProbableAuthenticationError) as error:
                    raise _refusal(error, self._settings) from error
                except _LOST as error:
                    if (distrust := _distrust(error)) is not None:
                        raise _refusal(distrust, self._settings) from error
                    logger.warning("no broker at %s: %s", self._settings.public_address, error or type(error).__name__)
                finally:
                    await self._disconnect()
                pause = min(self._settings.backoff_seconds * 2**attempt, self._settings.backoff_limit_seconds)
                attempt = min(attempt + 1, 16)
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # workers must not come back all at once
        finally:
            await self._disconnect()

    async def publish(self, exchange: str, body: bytes, routing_key: str = "", **properties: Any) -> None:
        """Return when the broker has confirmed the message, however often the connection is lost until then."""
        properties.setdefault("content_type", CONTENT_TYPE)
        # Persistent: what is confirmed must outlive the broker's restart in the queues of those who declared theirs so.
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
        pause = self._settings.backoff_seconds
        while True:
            await self._ready.wait()
            link = self._link
            try:
                if link is None:
                    raise ConnectionError("no connection")
                # A result that nobody listens for is not an error, so not mandatory.
                await link.exchanges[exchange].publish(
                    message, routing_key, mandatory=False, timeout=self._settings.publish_timeout_seconds
                )
                return
            except (*_LOST, DeliveryError) as error:
                self._metrics.retries.inc()
                logger.debug("%s not confirmed: %s", exchange, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._settings.backoff_limit_seconds)

    async def stop_consuming(self) -> None:
        """No more deliveries; what is delivered can still be acknowledged."""
        self._consuming = False
        link = self._link
        if link is not None and not link.lost.is_set():
            for queue, tag in link.consumers:
                try:
                    await queue.cancel(tag, timeout=5)
                except _LOST as error:
                    logger.debug("cancel: %s", error)

    async def _connect(self, on_frame: Handler, on_restart: Handler) -> _Link:
        settings = self._settings
        connection = await aio_pika.connect(
            settings.address, timeout=settings.connect_timeout_seconds, heartbeat=settings.heartbeat_seconds
        )
        lost = asyncio.Event()
        try:
            channel = await connection.channel(publisher_confirms=True)
            for closing in (connection, channel):
                closing.close_callbacks.add(lambda *_: lost.set(), weak=False)
            exchanges, queues = await self._declare(channel)
            link = _Link(connection, channel, exchanges, queues, lost, [])
            control = await channel.declare_queue(exclusive=True, auto_delete=True)
            await control.bind(exchanges[settings.exchanges.restart], "#")
            await channel.set_qos(prefetch_count=self._prefetch)
            self._link = link  # deliveries may come before `consume` returns
            if self._consuming:
                link.consumers.append((control, await control.consume(on_restart)))
                for queue in queues:
                    link.consumers.append((queue, await queue.consume(on_frame)))
            return link
        except BaseException:
            await connection.close()
            raise

    async def _declare(self, channel: AbstractChannel) -> tuple[dict[str, AbstractExchange], list[AbstractQueue]]:
        names, settings = self._settings.exchanges, self._settings
        kinds = {names.keyframe: "topic"}
        exchanges = {
            name: await channel.declare_exchange(name, kinds.get(name, "fanout"), durable=True)
            for name in vars(names).values()
        }
        dead = await channel.declare_queue(
            settings.dead_letter_queue,
            durable=True,
            arguments={
                "x-max-length": settings.dead_letter_limit,
                "x-max-length-bytes": settings.dead_letter_bytes,
                "x-overflow": "drop-head",
            },
        )
        await dead.bind(exchanges[names.dead_letter])
        arguments = queue_arguments(settings, self._policy)
        source, frames = exchanges[names.frames], settings.frame_queue
        if settings.partitions == 1:
            queue = await channel.declare_queue(frames, durable=True, arguments=arguments)
            await queue.bind(source)
            return exchanges, [queue]
        ring = await channel.declare_exchange(
            f"{frames}_hash", "x-consistent-hash", durable=True, arguments={"hash-header": HASH_HEADER}
        )
        queues = []
        for number in range(settings.partitions):  # all of them, so that no frame is without a queue
            queue = await channel.declare_queue(f"{frames}.{number}", durable=True, arguments=arguments)
            await queue.bind(ring, "10")  # points on the ring; the same for all, for equal shares
            if settings.consume is None or number in settings.consume:
                queues.append(queue)
        await ring.bind(source)
        return exchanges, queues

    async def _disconnect(self) -> None:
        self._ready.clear()
        self._metrics.connected.set(0)
        link, self._link = self._link, None
        if link is not None:
            try:
                await asyncio.wait_for(link.connection.close(), 5)
            except _LOST as error:
                logger.debug("close: %s", error)


def queue_arguments(settings: BrokerSettings, policy: Policy) -> dict[str, Any]:
    """Of a queue of frames. When it is full: live drops its oldest frame, recorded refuses, and the publisher waits."""
    return {
        "x-single-active-consumer": True,
        "x-max-length": settings.queue_limit_frames,
        "x-max-length-bytes": settings.queue_limit_bytes,
        "x-overflow": "drop-head" if policy == "drop_oldest" else "reject-publish",
    }


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The reason why a connection was not made, where it is the broker's certificate."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _refusal(error: Exception, settings: BrokerSettings) -> BrokerError:
    if isinstance(error, ProbableAuthenticationError):
        return BrokerError(f"the broker at {settings.public_address} does not take the user and password of the URL")
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerError(
            f"the certificate of the broker at {settings.public_address} is not trusted ({error.verify_message}): "
            "name the certificate of its authority in the URL, as amqps://.../?cafile=PATH"
        )
    return BrokerError(
        f"{error}: it is declared otherwise on the broker (another policy or limit?); delete it there when it is "
        "empty, or choose another broker.frame_queue"
    )
