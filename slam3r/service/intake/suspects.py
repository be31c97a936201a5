"""Frames that a worker died with: tried again alone, and moved aside when it dies with them again and again."""

from __future__ import annotations

from collections.abc import Sequence

from slam3r.service.frame_key import FrameKey
from slam3r.service.state.database import StateDatabase


class Suspects:
    """Writes down which frames are in the worker's hands, and knows what earlier workers had in theirs when they died.

    A frame on which a decoder or a driver crashes the process comes again to the next worker. To find out which of the
    frames in hand it is, each of them is decoded and pushed with no other in hand.
    """

    def __init__(self, state: StateDatabase, limit: int) -> None:
        """
        Args:
            state: of the worker.
            limit: deaths after which a frame is given up.
        """
        self._state, self._limit = state, limit
        self._deaths = state.count_deaths()
        self._in_hand: dict[FrameKey, None] = {}

    @property
    def reason(self) -> str:
        """Reason for giving a frame up."""
        return f"the worker died {self._limit} times with this frame in its hands"

    def is_given_up(self, key: FrameKey) -> bool:
        """Whether a frame must not be tried again. Asked once; the next frame with this key is another one."""
        if self._deaths.get(key, 0) < self._limit:
            return False
        self._acquit([key])
        return True

    def must_be_alone(self, key: FrameKey) -> bool:
        """Whether a frame is to be handled with no other in hand."""
        return key in self._deaths

    def take(self, key: FrameKey) -> None:
        """A frame is about to be decoded."""
        self._in_hand[key] = None
        self._state.hold(list(self._in_hand))

    def release(self, keys: Sequence[FrameKey]) -> None:
        """Frames that the worker has survived."""
        for key in keys:
            self._in_hand.pop(key, None)
        self._acquit(keys)
        self._state.hold(list(self._in_hand))

    def close(self) -> None:
        """The worker ends in an orderly way: no frame is to blame."""
        self._state.hold([])

    def _acquit(self, keys: Sequence[FrameKey]) -> None:
        charged = [key for key in keys if key in self._deaths]
        for key in charged:
            del self._deaths[key]
        if charged:
            self._state.acquit(charged)
