"""Workers as processes of this machine; one that is killed takes nothing with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from common.command.many.settings import ManySettings
from common.processes import become_helper


class LocalWorkers:
    """Processes that call a function with their number. What they print goes to ``worker_<number>.log``."""

    def __init__(self, settings: ManySettings, function: Callable[[int], None], folder: Path, count: int) -> None:
        """
        Args:
            settings: GPUs to share out.
            function: can be pickled.
            folder: for logs.
            count: workers.
        """
        context = multiprocessing.get_context("spawn")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(settings.gpus)))
        devices = cycle(visible.split(","))
        self._processes = [
            context.Process(
                target=_work,
                args=(function, number, folder / f"worker_{number}.log", next(devices)),
                name=f"worker {number}",
            )
            for number in range(count)
        ]
        for process in self._processes:
            process.start()

    def running(self) -> int:
        """Number of workers that are alive."""
        return sum(process.is_alive() for process in self._processes)

    def stop(self) -> None:
        """End all workers now."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def faults(self) -> list[str]:
        """A phrase for each worker that did not end by itself."""
        return [
            f"{process.name} was ended by {signal.Signals(-process.exitcode).name}"
            if process.exitcode < 0
            else f"{process.name} ended with status {process.exitcode}"
            for process in self._processes
            if process.exitcode
        ]


def cores_for(settings: ManySettings, count: int) -> int:
    """Processor threads of each of several workers of this machine."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.cpus or max(1, mine // count)


def _work(function: Callable[[int], None], number: int, log: Path, device: str) -> None:
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # before CUDA is asked for anything
    become_helper()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    function(number)
