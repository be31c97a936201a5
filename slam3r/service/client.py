"""The other side of the service, for programs that send frames or read results.

async with ServiceClient("amqp://user:password@host/") as client:
    async for message in await client.subscribe("pose", "points"):
        ...

async with ServiceClient(url) as client:
    await client.publish_source(source, stream_id="drone", segment="flight-3")
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import aio_pika
import numpy as np
from aio_pika.exceptions import DeliveryError
from aiormq.exceptions import ChannelNotFoundEntity
from numpy.typing import NDArray
from PIL import Image

from common.data.sources.frame_source import FrameSource
from slam3r.service.broker.address import check_address
from slam3r.service.broker.errors import LOST, refusal
from slam3r.service.broker.transport import RobustConnection
from slam3r.service.settings import ExchangeNames
from slam3r.service.wire.codec import Limits
from slam3r.service.wire.errors import MessageError
from slam3r.service.wire.messages import Message, decode
from slam3r.service.wire.names import check_name

logger = logging.getLogger(__name__)

KINDS = ("pose", "points", "keyframe", "visualization")
_REFUSED_SECONDS = 0.2
_MISSING_SECONDS = 1.0
_REMEMBERED = 4096
"""Message ids by which a message is recognised that comes twice."""

T = TypeVar("T")


class ServiceClient:
    """One connection to the broker, that comes back when it is lost; a context manager.

    It declares nothing that others use: it needs no rights but to write to the exchanges that it sends to, and to read
    from those that it subscribes to, with a queue of its own. Methods raise `BrokerError` when the broker refuses.
    """

    def __init__(
        self, url: str, exchanges: ExchangeNames | None = None, limits: Limits | None = None, backlog: int = 1000
    ) -> None:
        """
        Args:
            url: ``amqp://`` or ``amqps://`` with user and password.
            exchanges: their names, where they are others than the usual ones.
            limits: on what is read.
            backlog: messages that wait for this program; the oldest go when there are more.
        """
        self._url, self._exchanges, self._limits = check_address(url, "url"), exchanges or ExchangeNames(), limits
        self._backlog = backlog
        self._connection: aio_pika.abc.AbstractRobustConnection | None = None
        self._channel: aio_pika.abc.AbstractChannel | None = None

    async def __aenter__(self) -> ServiceClient:
        connecting = aio_pika.connect_robust(self._url, timeout=10, connection_class=RobustConnection)
        connection = await self._clear(connecting)
        self._connection = connection
        self._channel = await self._clear(connection.channel(publisher_confirms=True, on_return_raises=True))
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._connection is not None
        await self._connection.close()

    async def publish(
        self,
        image: bytes | NDArray[np.uint8],
        timestamp_ns: int,
        stream_id: str | None = None,
        segment: str | None = None,
    ) -> None:
        """Send a frame; returns when the broker has it in a queue.

        Waits as long as no worker has ever made the queue, and while it is full and the policy is ``block``.

        Args:
            image: bytes of a JPEG, PNG or WebP, or (H, W, 3) uint8 RGB, which is sent as JPEG.
            timestamp_ns: of the frame; two frames of a segment with the same one are one frame.
            stream_id: of the camera; streams are reconstructed apart.
            segment: frames with another segment begin a new world.

        Raises:
            ValueError: `stream_id` or `segment` is no name (`slam3r.service.wire.names`).
        """
        body = image if isinstance(image, bytes) else encode_jpeg(image)
        headers: dict[str, Any] = {"timestamp_ns": timestamp_ns}
        headers |= {} if stream_id is None else {"stream_id": check_name(stream_id)}
        headers |= {} if segment is None else {"video_segment": check_name(segment)}
        message = aio_pika.Message(body, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        while True:
            try:
                await self._send(self._exchanges.frames, message, mandatory=True)
                return
            except DeliveryError:  # no queue yet, or a full one
                await asyncio.sleep(_REFUSED_SECONDS)

    async def publish_source(
        self, source: FrameSource, stream_id: str | None = None, segment: str | None = None, realtime: bool = False
    ) -> int:
        """Send every frame of a folder, video or camera (`common.data.sources.frame_source`); returns how many.

        Args:
            source: opened; its timestamps become those of the frames.
            stream_id, segment: as in `publish`.
            realtime: keep the pace of the timestamps.
        """
        loop, count, start = asyncio.get_running_loop(), 0, 0.0
        frames = iter(source)
        while True:
            frame = await asyncio.to_thread(next, frames, None)
            if frame is None:
                return count
            if realtime:
                start = start or loop.time() - frame.timestamp
                await asyncio.sleep(max(0.0, start + frame.timestamp - loop.time()))
            body = await asyncio.to_thread(encode_jpeg, frame.image)
            await self.publish(body, round(frame.timestamp * 1e9), stream_id, segment)
            count += 1

    async def restart(self, stream_id: str | None = None) -> None:
        """Let a stream, or all of them, begin a new world."""
        body = b"" if stream_id is None else json.dumps({"stream_id": check_name(stream_id)}).encode()
        await self._send(self._exchanges.restart, aio_pika.Message(body), mandatory=False)

    async def subscribe(self, *kinds: str) -> AsyncIterator[Message]:
        """Results from now on, in the order in which the service sends them: ``async for`` over what is awaited.

        Args:
            kinds: of `KINDS`; all of them where none is given.

        A message that cannot be read is reported and passed over.
        """
        assert self._channel is not None, "inside of `async with` only"
        unknown = set(kinds) - set(KINDS)
        if unknown:
            raise ValueError(f"no such kind {sorted(unknown)[0]!r}; there are: {', '.join(KINDS)}")
        # An own channel, so that what waits here does not hold up what is published.
        assert self._connection is not None
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=64)
        arguments: dict[str, Any] = {"x-max-length": self._backlog, "x-overflow": "drop-head"}
        name = f"slam3r_client_{uuid.uuid4().hex}"
        queue = await self._clear(channel.declare_queue(name, exclusive=True, auto_delete=True, arguments=arguments))
        for kind in kinds or KINDS:
            exchange = getattr(self._exchanges, kind)
            await self._wait_for_exchange(exchange)
            await self._clear(queue.bind(exchange, "#"))
        return self._read(queue)

    async def _read(self, queue: aio_pika.abc.AbstractQueue) -> AsyncIterator[Message]:
        known: OrderedDict[str, None] = OrderedDict()
        async with queue.iterator() as messages:
            async for incoming in messages:
                await incoming.ack()
                if incoming.message_id in known:  # sent again after a failure, or bound to several exchanges
                    continue
                if incoming.message_id is not None:
                    known[incoming.message_id] = None
                    if len(known) > _REMEMBERED:
                        known.popitem(last=False)
                try:
                    yield decode(incoming.body, incoming.content_encoding, self._limits)
                except MessageError as error:
                    logger.warning("a message cannot be read: %s", error)

    async def _send(self, exchange: str, message: aio_pika.Message, mandatory: bool) -> None:
        """Publish without declaring anything, which would need a right to configure."""
        assert self._channel is not None, "inside of `async with` only"
        while True:
            target = await self._channel.get_exchange(exchange, ensure=False)
            try:
                await self._clear(target.publish(message, "", mandatory=mandatory))
                return
            except ChannelNotFoundEntity:
                await self._wait_for_exchange(exchange)

    async def _wait_for_exchange(self, name: str) -> None:
        """Return when a worker has declared the exchange."""
        assert self._connection is not None, "inside of `async with` only"
        told = False
        while True:
            channel = await self._connection.channel()
            try:
                await self._clear(channel.get_exchange(name, ensure=True))
                await channel.close()
                return
            except ChannelNotFoundEntity:
                if not told:
                    logger.warning("there is no exchange %s: waiting for a worker to declare it", name)
                told = True
            await asyncio.sleep(_MISSING_SECONDS)

    async def _clear(self, work: Awaitable[T]) -> T:
        """Await a call of the client library; a refusal for good becomes a `BrokerError` without credentials."""
        try:
            return await work
        except LOST as error:
            if (refused := refusal(error, self._url)) is not None:
                raise refused from None
            raise


def encode_jpeg(image: NDArray[np.uint8], quality: int = 92) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
