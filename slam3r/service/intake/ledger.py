"""Record of the frames that were delivered, are being worked on, or are done. Acknowledgements depend on it.

A frame is *open* from its first delivery until its result is confirmed, then *done*. Frames that are done are written
to the state before they are acknowledged, so a worker that is killed between the two recognises the redelivery.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from slam3r.service.frame_key import FrameKey
from slam3r.service.intake.frames import Delivery
from slam3r.service.state.database import StateDatabase

Offered = Literal["new", "open", "done"]


class Ledger:
    """Frames by key. Remembers the last ``limit`` that are done, over restarts of the worker."""

    def __init__(self, limit: int, state: StateDatabase) -> None:
        """
        Args:
            limit: frames that are done and remembered.
            state: of earlier workers and this one.
        """
        self._limit, self._state = limit, state
        self._open: dict[FrameKey, list[Delivery]] = {}
        self._done = OrderedDict.fromkeys(state.done_frames(limit))

    def offer(self, key: FrameKey, delivery: Delivery) -> Offered:
        """Take note of a delivery. If the frame is open already, both will be acknowledged together."""
        if key in self._done:
            return "done"
        if key in self._open:
            self._open[key].append(delivery)
            return "open"
        self._open[key] = [delivery]
        return "new"

    def adopt(self, key: FrameKey) -> None:
        """Open a frame whose delivery is still to come: a restored session has it inside."""
        if key not in self._done:
            self._open.setdefault(key, [])

    def is_done(self, key: FrameKey) -> bool:
        """Whether its result was published."""
        return key in self._done

    def complete(self, keys: Sequence[FrameKey]) -> list[Delivery]:
        """Frames whose results are confirmed; returns the deliveries that are to be acknowledged now."""
        self._state.add_done(keys, self._limit)
        for key in keys:
            self._done[key] = None
            self._done.move_to_end(key)
        while len(self._done) > self._limit:
            self._done.popitem(last=False)
        return [delivery for key in keys for delivery in self._open.pop(key, [])]

    def drop(self, key: FrameKey) -> list[Delivery]:
        """A frame that was left out on purpose and may be sent again; returns the deliveries to acknowledge."""
        return self._open.pop(key, [])

    def refuse(self, key: FrameKey, delivery: Delivery) -> Delivery | None:
        """A delivery that turned out to be unusable: it is no longer one of the frame.

        Returns:
            Another delivery under the same key, which came in the meantime and is to be tried in its place; the frame
            stays open for it. None where there is none.
        """
        others = [other for other in self._open.pop(key, []) if other is not delivery]
        if not others:
            return None
        self._open[key] = others
        return others[0]

    @property
    def num_open(self) -> int:
        """Frames delivered and not done."""
        return len(self._open)
