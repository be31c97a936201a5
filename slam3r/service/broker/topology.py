"""Exchanges, queues and bindings that a worker declares on the broker. Declaring them again changes nothing.

Frames: the fanout exchange feeds one durable queue, or, with several partitions, a consistent-hash exchange on the
header ``stream_id`` (plugin ``rabbitmq_consistent_hash_exchange``) with a queue per partition. Every queue has a single
active consumer, so a stream is always with one worker, and another one takes over when that worker is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractQueue

from slam3r.service.settings import BrokerSettings, Policy

HASH_HEADER = "stream_id"


@dataclass(frozen=True)
class Topology:
    """Declared exchanges and queues, on the channel that declared them."""

    exchanges: dict[str, AbstractExchange]
    """By name."""
    queues: list[AbstractQueue]
    """Queues of frames that this worker consumes."""


async def declare(channel: AbstractChannel, settings: BrokerSettings, policy: Policy) -> Topology:
    """Declare everything.

    Raises:
        ChannelPreconditionFailed: something exists with other arguments.
        ChannelAccessRefused: a permission is missing.
    """
    names = settings.exchanges
    kinds = {names.keyframe: "topic"}
    exchanges = {
        name: await channel.declare_exchange(name, kinds.get(name, "fanout"), durable=True)
        for name in vars(names).values()
    }
    await _declare_dead_letters(channel, settings, exchanges[names.dead_letter])
    # Remembers the number of partitions, as its limit: the broker refuses a worker that has another one, and would
    # otherwise send frames to queues that nobody reads.
    layout: dict[str, Any] = {"x-max-length": settings.partitions}
    await channel.declare_queue(f"{settings.frame_queue}.layout", durable=True, arguments=layout)
    return Topology(exchanges, await _declare_frames(channel, settings, policy, exchanges[names.frames]))


def queue_arguments(settings: BrokerSettings, policy: Policy) -> dict[str, Any]:
    """Arguments of a queue of frames. When it is full, live drops its oldest frame, and recorded refuses new ones, so
    that the publisher waits."""
    return {
        "x-single-active-consumer": True,
        "x-max-length": settings.queue_limit_frames,
        "x-max-length-bytes": settings.queue_limit_bytes,
        "x-overflow": "drop-head" if policy == "drop_oldest" else "reject-publish",
    }


async def _declare_dead_letters(channel: AbstractChannel, settings: BrokerSettings, exchange: AbstractExchange) -> None:
    arguments: dict[str, Any] = {
        "x-max-length": settings.dead_letter_limit,
        "x-max-length-bytes": settings.dead_letter_bytes,
        "x-overflow": "drop-head",
    }
    queue = await channel.declare_queue(settings.dead_letter_queue, durable=True, arguments=arguments)
    await queue.bind(exchange)


async def _declare_frames(
    channel: AbstractChannel, settings: BrokerSettings, policy: Policy, source: AbstractExchange
) -> list[AbstractQueue]:
    arguments = queue_arguments(settings, policy)
    if settings.partitions == 1:
        queue = await channel.declare_queue(settings.frame_queue, durable=True, arguments=arguments)
        await queue.bind(source)
        return [queue]
    ring = await channel.declare_exchange(
        f"{settings.frame_queue}_hash", "x-consistent-hash", durable=True, arguments={"hash-header": HASH_HEADER}
    )
    queues = []
    for number in range(settings.partitions):  # all of them, so that no frame is without a queue
        queue = await channel.declare_queue(f"{settings.frame_queue}.{number}", durable=True, arguments=arguments)
        await queue.bind(ring, "10")  # points on the ring; the same for all, for equal shares
        if settings.consume is None or number in settings.consume:
            queues.append(queue)
    await ring.bind(source)
    return queues
