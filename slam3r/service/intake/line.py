"""The bounded line of frames in front of the networks, with a stated policy for when it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from slam3r.service.intake.frames import IncomingFrame
from slam3r.service.settings import Policy


@dataclass(frozen=True)
class Restart:
    """Close the segment of one stream, or of all, and begin again."""

    stream_id: str | None = None
    reason: str = "restart"


class Intake:
    """First in, first out.

    ``drop_oldest`` (live): when a frame comes and ``limit`` are waiting, the oldest goes. ``block`` (recorded): nothing
    goes; the broker's prefetch bounds the line, and frames wait on the broker.
    """

    def __init__(self, policy: Policy, limit: int) -> None:
        self._policy, self._limit = policy, limit
        self._items: deque[IncomingFrame | Restart] = deque()
        self._frames = 0
        self._filled = asyncio.Event()

    def put(self, item: IncomingFrame | Restart) -> IncomingFrame | None:
        """Append an item; returns the frame that had to go, if one had to."""
        self._items.append(item)
        self._frames += isinstance(item, IncomingFrame)
        self._filled.set()
        if self._policy == "drop_oldest" and self._frames > self._limit:
            place = next(n for n, waiting in enumerate(self._items) if isinstance(waiting, IncomingFrame))
            oldest = self._items[place]
            del self._items[place]
            self._frames -= 1
            assert isinstance(oldest, IncomingFrame)
            return oldest
        return None

    async def get(self) -> IncomingFrame | Restart:
        """Wait for the next item."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        self._frames -= isinstance(item, IncomingFrame)
        return item

    def holds(self, stream_id: str) -> bool:
        """Whether a frame of the stream waits here."""
        frames = (item for item in self._items if isinstance(item, IncomingFrame))
        return any(frame.key.stream_id == stream_id for frame in frames)

    def __len__(self) -> int:
        """Number of frames that wait."""
        return self._frames
