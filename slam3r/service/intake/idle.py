"""Detection of idle streams: no frame has come for a while, and none is on its way.

Time alone does not tell. Frames may wait behind a slow push, on a broker that hangs, or while this process was stopped.
So quiet time counts only in ticks of the event loop, a tick never for more than it should take, and before a world ends
the broker has to say how many frames it still holds; so many must have been delivered without one of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Quiet:
    seconds: float = 0.0
    until: int | None = None
    """Deliveries by which all frames that were on the broker when we asked have come."""


class IdleWatch:
    """Counts the quiet time of streams. `tick` it about every `tick_seconds`."""

    def __init__(self, idle_seconds: float, tick_seconds: float) -> None:
        self._limit, self._longest = idle_seconds, 2 * tick_seconds
        self._quiet: dict[str, _Quiet] = {}
        self._delivered = 0

    def delivered(self, stream_id: str) -> None:
        """A frame of the stream was delivered."""
        self._delivered += 1
        self._quiet.pop(stream_id, None)

    def tick(self, seconds: float, open_streams: set[str], waiting: set[str]) -> set[str]:
        """Let time pass.

        Args:
            seconds: since the last tick.
            open_streams: streams with a world.
            waiting: those of them with frames inside the worker that were not pushed yet.

        Returns:
            Streams that were quiet for long enough. They are idle if the broker confirms it: see `confirm`.
        """
        for stream in open_streams:
            quiet = self._quiet.setdefault(stream, _Quiet())
            quiet.seconds = 0.0 if stream in waiting else quiet.seconds + min(seconds, self._longest)
        for stream in self._quiet.keys() - open_streams:
            del self._quiet[stream]
        return {stream for stream, quiet in self._quiet.items() if quiet.seconds >= self._limit}

    def confirm(self, candidates: set[str], queued: int | None) -> set[str]:
        """Return the candidates that are idle indeed.

        Args:
            candidates: from `tick`.
            queued: frames that the broker still holds, of any stream; None where it does not answer.
        """
        if queued is None:
            return set()
        idle = set()
        for stream in candidates:
            quiet = self._quiet.get(stream)
            if quiet is None:  # a frame came while the broker was asked
                continue
            behind = self._delivered + queued
            quiet.until = behind if quiet.until is None else min(quiet.until, behind)
            if self._delivered >= quiet.until:
                idle.add(stream)
                del self._quiet[stream]
        return idle
