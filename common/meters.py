"""Cost of a run: seconds per stage, and peak memory of the process and of the GPU."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from common.device import synchronize

if sys.platform != "win32":
    import resource


class StageTimer:
    """Seconds and calls per named stage; one timer for a whole run.

    `with timer("encode"): ...` adds to the stage `encode`. Stages may nest: the outer one includes the inner one.
    With `synchronized` (default) the device is synchronized at both ends: less overlap, but times are attributed to
    the right stage.
    """

    def __init__(self, device: torch.device | None = None, synchronized: bool = True) -> None:
        self.device = device if synchronized and device is not None else torch.device("cpu")
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        synchronize(self.device)
        start = time.perf_counter()
        try:
            yield
        finally:
            synchronize(self.device)
            self.seconds[stage] += time.perf_counter() - start
            self.calls[stage] += 1

    def summary(self) -> dict[str, float]:
        """Seconds per stage, in the order in which stages first ended."""
        return dict(self.seconds)


@dataclass(frozen=True)
class MemoryPeak:
    """Peak memory since the meter was started."""

    process: int
    """Bytes of resident memory of this process."""
    device: int
    """Bytes allocated by torch on the GPU; 0 on the CPU."""

    def __str__(self) -> str:
        device = f", {self.device / 2**30:.2f} GiB on the GPU" if self.device else ""
        return f"{self.process / 2**30:.2f} GiB resident{device}"


class MemoryMeter:
    """Peak memory from construction (or `restart`) to `peak()`. One at a time: a restart moves the start for all.

    The resident peak restarts on Linux only; elsewhere it is the peak of the process since its start.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.restart()

    def restart(self) -> None:
        """Forget earlier peaks."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # 5: reset the resident peak, nothing else

    def peak(self) -> MemoryPeak:
        """Peaks so far."""
        on_device = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0
        return MemoryPeak(process=_resident_peak(), device=on_device)


def resident_memory() -> int:
    """Bytes of memory that this process holds now."""
    return psutil.Process().memory_info().rss


def _resident_peak() -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
