"""Seconds of named stages, by the clock and of the processor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up what each stage takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """Wall-clock time of each stage."""
        self.cpu_seconds: dict[str, float] = {}
        """Processor time of this process, all threads together, during each stage."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as part of `stage`."""
        start, cpu_start = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
            self.cpu_seconds[stage] = self.cpu_seconds.get(stage, 0.0) + time.process_time() - cpu_start
