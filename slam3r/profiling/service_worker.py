"""Worker in a separate process, as ``scripts/serve.py`` runs it, monitored over HTTP."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

from common.errors import InputError
from common.processes import become_helper
from slam3r.service.serve import serve
from slam3r.service.settings import ServeConfiguration

_START_SECONDS = 300.0
_STOP_SECONDS = 120.0
_TICK_SECONDS = 0.2


class WorkerProcess:
    """Context manager in which the worker is connected; the process has ended afterwards."""

    def __init__(self, chosen: ServeConfiguration) -> None:
        """
        Args:
            chosen: configuration with HTTP on a free port.
        """
        self._http = chosen.service.http
        self._folder = tempfile.TemporaryDirectory(prefix="worker-")
        self._log = Path(self._folder.name) / "log"
        # A fork would copy the threads of torch.
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(chosen, str(self._log)), name="worker")

    async def __aenter__(self) -> WorkerProcess:
        self._process.start()
        try:
            await self.until(lambda metrics: metrics.get("slam3r_broker_connected") == 1, _START_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._end()

    def processor_seconds(self) -> dict[str, float]:
        """Processor seconds so far of the worker, of its mesh processes that are alive, and of this process."""
        worker = psutil.Process(self._process.pid)
        helpers = sum(_processor_seconds(child) for child in worker.children(recursive=True))
        return {
            "worker": _processor_seconds(worker),
            "mesh": helpers,
            "client": _processor_seconds(psutil.Process()),
        }

    async def metrics(self) -> dict[str, float]:
        """Every sample of ``/metrics`` by its name with labels; empty without an answer."""
        return await asyncio.to_thread(self._read_metrics)

    async def until(self, condition: Callable[[dict[str, float]], bool], seconds: float = 300.0) -> None:
        """Wait until the metrics satisfy a condition.

        Raises:
            InputError: the worker has ended, or the condition did not hold in time; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not condition(await self.metrics()):
            if not self._process.is_alive() or time.monotonic() > deadline:
                what = f"is not ready after {seconds:.0f} s" if self._process.is_alive() else "has ended"
                raise InputError(f"the worker {what}: {self._log.read_text()[-1500:]}")
            await asyncio.sleep(_TICK_SECONDS)

    async def stop(self) -> None:
        """Let the worker finish its current work, and wait for its end."""
        self._process.terminate()
        await asyncio.to_thread(self._process.join, _STOP_SECONDS)

    def _read_metrics(self) -> dict[str, float]:
        try:
            with urllib.request.urlopen(f"http://{self._http.host}:{self._http.port}/metrics", timeout=10) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return {}
        pairs = (re.fullmatch(r"([^#].*) (\S+)", line) for line in lines)
        return {pair[1]: float(pair[2]) for pair in pairs if pair}

    def _end(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._folder.cleanup()


def _processor_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def free_port() -> int:
    """Find a free TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _serve(chosen: ServeConfiguration, log: str) -> None:
    """In the worker's process."""
    become_helper()
    with open(log, "w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
        serve(chosen)
