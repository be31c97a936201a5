"""Engines that run the workers of a batch, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from common.command.many.local import LocalWorkers
from common.command.many.on_ray import RayWorkers
from common.command.many.settings import Engine, ManySettings
from common.command.many.slurm import SlurmWorkers


class Workers(Protocol):
    """Workers that have been started."""

    def running(self) -> int:
        """Number of workers that have not ended."""

    def stop(self) -> None:
        """End all workers now."""

    def faults(self) -> list[str]:
        """When all have ended: a phrase for each that did not end by itself."""


Start = Callable[[ManySettings, Callable[[int], None], Path, int], Workers]
"""Takes settings, the function of a worker (called with its number), a folder for logs, and how many to start."""

ENGINES: Mapping[Engine, Start] = {"local": LocalWorkers, "slurm": SlurmWorkers, "ray": RayWorkers}
