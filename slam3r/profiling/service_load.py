"""Load generator for a running service, which records the time of every answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from slam3r.live.tracking import TrackingState
from slam3r.service.client import ServiceClient
from slam3r.service.wire.messages import Message, PoseMessage

STREAM = "load"
_AT_ONCE = 16
"""Frames on their way to the broker, so that the rate does not depend on how fast it confirms."""
_FOUNDING_RATE = 5.0
"""Frames per second, least, until a world can be founded; they are only encoded meanwhile."""
_QUIET_SECONDS = 10.0
"""More than the pauses between answers while frames that waited are registered: windows are decoded in batches."""


@dataclass
class LoadRecord:
    """Record of sent frames and answers. Times are nanoseconds since the epoch; a frame's timestamp is that of its
    sending."""

    sent: list[int] = field(default_factory=list)
    answered: dict[int, int] = field(default_factory=dict)
    """Time of the answer by timestamp."""
    repeated: int = 0
    """Duplicate answers."""
    parts: set[int] = field(default_factory=set)
    """Worlds."""
    processor_seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds of the time that counts, by process."""
    first_pose_processor_seconds: float = 0.0
    """Processor seconds of the worker from the first frame to the first answer."""
    started: int = 0
    """Start of the measurement, when the world is initialized."""
    ended: int = 0
    """End of the measurement."""

    @property
    def first_pose_seconds(self) -> float:
        """Seconds from the first frame to the first answer."""
        return (min(self.answered.values()) - self.sent[0]) / 1e9

    @property
    def offered_per_second(self) -> float:
        """Frames sent in the time that counts."""
        return self._rate(self.sent)

    @property
    def answered_per_second(self) -> float:
        """Answers per second received during the measurement."""
        return self._rate(self.answered.values())

    @property
    def processor_seconds_per_frame(self) -> dict[str, float]:
        """Processor seconds for each answer that was received during the measurement, by process."""
        answers = max(1, sum(self.started <= time <= self.ended for time in self.answered.values()))
        return {name: seconds / answers for name, seconds in self.processor_seconds.items()}

    @property
    def counted(self) -> list[int]:
        """Frames sent in the time that counts."""
        return [timestamp for timestamp in self.sent if timestamp >= self.started]

    @property
    def latencies(self) -> NDArray[np.float64]:
        """Seconds from sending to answer, of answered frames sent during the measurement."""
        return np.array([(self.answered[sent] - sent) / 1e9 for sent in self.counted if sent in self.answered])

    def _rate(self, times: Iterable[int]) -> float:
        return sum(self.started <= t <= self.ended for t in times) / max((self.ended - self.started) / 1e9, 1e-9)


class LoadTest:
    """One stream of encoded pictures to a service, and its answers. `run`, stop the worker, then `finish`."""

    def __init__(
        self, client: ServiceClient, pictures: Sequence[bytes], processor_seconds: Callable[[], dict[str, float]]
    ) -> None:
        """
        Args:
            client: connected.
            pictures: JPEG, PNG or WebP, shown to and fro so that the camera never jumps.
            processor_seconds: so far, by process; one of them is the ``worker``.
        """
        self._client, self._pictures = client, cycle(chain(pictures, pictures[-2:0:-1]))
        self._processor_seconds, self._used_before = processor_seconds, processor_seconds()
        self.record = LoadRecord()
        self._founded = asyncio.Event()
        self._reader: asyncio.Task | None = None
        self._newest = time.monotonic()

    async def run(
        self, frames_per_second: float | None, seconds: float, founding_frames: int, patience: float = 300.0
    ) -> None:
        """Send until the world is founded, let the service catch up where there is a rate, and send for so long as
        counts.

        Args:
            frames_per_second: sent; None sends as fast as they are taken.
            seconds: that count; 0 for the founding alone.
            founding_frames: that a world is founded on; they are sent faster where the rate is low.
            patience: seconds in which the world must be founded.

        Raises:
            InputError: it was not.
        """
        self._reader = asyncio.create_task(self._read(await self._client.subscribe("pose")))
        if frames_per_second:
            quick = max(frames_per_second, _FOUNDING_RATE)
            await self._send_until(lambda: len(self.record.sent) >= founding_frames, quick, patience)
        await self._send_until(self._founded.is_set, frames_per_second, patience)
        if not self._founded.is_set():
            raise InputError(f"no world was founded in {patience:.0f} s, with {len(self.record.sent)} frames sent")
        if frames_per_second:
            await self._settle()  # frames delayed by the initialization are excluded from the latencies
        self.record.started = time.time_ns()
        self.record.ended = self.record.started
        if seconds:
            before = self._processor_seconds()
            await self._send_until(lambda: False, frames_per_second, seconds)
            self.record.ended = time.time_ns()
            used = self._processor_seconds()
            self.record.processor_seconds = {name: used[name] - before[name] for name in before}

    async def finish(self) -> LoadRecord:
        """Read outstanding answers after the worker has stopped."""
        assert self._reader is not None, "after `run` only"
        await self._settle()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        return self.record

    async def _send_until(self, enough: Callable[[], bool], frames_per_second: float | None, seconds: float) -> None:
        begun, number = time.monotonic(), 0
        on_their_way: set[asyncio.Task] = set()
        while not enough() and time.monotonic() < begun + seconds:
            while len(on_their_way) >= _AT_ONCE:
                _, on_their_way = await asyncio.wait(on_their_way, return_when=asyncio.FIRST_COMPLETED)
            on_their_way.add(asyncio.create_task(self._send(next(self._pictures))))
            number += 1
            due = begun + number / frames_per_second if frames_per_second else 0.0
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*on_their_way)

    async def _settle(self) -> None:
        """Wait until no answer has arrived for a while."""
        self._newest = time.monotonic()
        while time.monotonic() - self._newest < _QUIET_SECONDS:
            await asyncio.sleep(0.1)

    async def _send(self, picture: bytes) -> None:
        timestamp = time.time_ns()
        self.record.sent.append(timestamp)
        await self._client.publish(picture, timestamp, STREAM)

    async def _read(self, answers: AsyncIterator[Message]) -> None:
        async for message in answers:
            if not isinstance(message, PoseMessage) or message.stream_id != STREAM:
                continue
            self._newest = time.monotonic()
            if not self.record.answered:
                used = self._processor_seconds()["worker"]
                self.record.first_pose_processor_seconds = used - self._used_before["worker"]
            self.record.repeated += message.timestamp_ns in self.record.answered
            self.record.answered.setdefault(message.timestamp_ns, time.time_ns())
            self.record.parts.add(message.part)
            if message.state != TrackingState.INITIALISING.value:
                self._founded.set()
