"""Workers as tasks of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.command.many.settings import ManySettings
from common.errors import ConfigurationError


class RayWorkers:
    """Tasks that Ray does not repeat by itself: the next call of the command takes up what is left."""

    def __init__(self, settings: ManySettings, function: Callable[[int], None], folder: Path, count: int) -> None:
        """
        Args:
            settings: address of the cluster, and what each task asks for.
            function: can be pickled; all nodes have this code and see the folder of the results.
            folder: not used: Ray keeps its own logs.
            count: tasks.

        Raises:
            ConfigurationError: Ray is not installed, or no cluster answers.
        """
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigurationError("many.engine=ray needs Ray: bash scripts/setup.sh cluster") from None
        self._ray = ray
        try:
            ray.init(address=settings.address, log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigurationError(f"many.address={settings.address}: {' '.join(str(error).split())}") from error
        asked: dict[str, Any] = {"num_cpus": settings.cpus, "num_gpus": settings.gpus or None}
        asked |= {"memory": settings.memory_gb and int(settings.memory_gb * 1e9)}
        options = {key: value for key, value in asked.items() if value is not None}
        task = ray.remote(max_retries=0, **options)(_call)
        self._tasks = [task.remote(function, number, os.getcwd()) for number in range(count)]

    def running(self) -> int:
        """Number of tasks that have not ended."""
        return len(self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)[1])

    def stop(self) -> None:
        """Cancel all tasks."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)

    def faults(self) -> list[str]:
        """A phrase for each task that failed."""
        found = []
        for number, task in enumerate(self._tasks):
            try:
                self._ray.get(task)
            except self._ray.exceptions.RayError as error:
                found.append(f"task {number}: {str(error).strip().splitlines()[0]}")
        self._ray.shutdown()
        return found


def _call(function: Callable[[int], None], number: int, folder: str) -> None:
    os.chdir(folder)  # Ray starts tasks elsewhere, and users give relative paths
    function(number)
