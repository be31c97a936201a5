"""An estimate of the time that work in several stages still takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

_LEAST_SECONDS, _LEAST_SHARE = 3.0, 0.1
"""Time and share of the work after which there is an estimate."""


class Remaining:
    """Estimates the remaining time from the speed so far and the usual durations of the stages."""

    def __init__(self, durations: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            durations: usual duration of each stage in their order, in any unit; others count as short. A stage goes
                by the longest name that its own begins with.
            clock: seconds.
        """
        self._durations, self._clock = dict(durations), clock
        self._start = self._began = clock()
        self._stage, self._share = "", 0.0

    def at(self, stage: str, share: float) -> None:
        """Tell the stage, and the share of it that is done."""
        name = max((known for known in self._durations if stage.startswith(known)), key=len, default=None)
        if name is None:
            return
        if name != self._stage:
            self._stage, self._began = name, self._clock()
        self._share = min(max(share, 0.0), 1.0)

    @property
    def seconds(self) -> float | None:
        """Seconds until the end, or None before anything can be said.

        The rest of a stage takes as long as its speed says; later stages relate to those behind as they usually do.
        """
        if self._stage not in self._durations:
            return None
        stages = list(self._durations)
        number, now = stages.index(self._stage), self._clock()
        own = self._durations[self._stage]
        behind = sum(self._durations[stage] for stage in stages[:number]) + self._share * own
        later = sum(self._durations[stage] for stage in stages[number + 1 :])
        elapsed, total = now - self._start, behind + (1 - self._share) * own + later
        if elapsed < _LEAST_SECONDS or behind < _LEAST_SHARE * total:
            return None
        in_stage = now - self._began
        if self._share > 0.1:
            rest = in_stage * (1 - self._share) / self._share
        else:
            rest = max(0.0, elapsed / behind * own - in_stage)
        return rest + elapsed / behind * later


def duration_in_words(seconds: float) -> str:
    """A rounded duration: "25 s", "2 min", "1 h 10 min"."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60))
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"
