"""Speed, data waiting time and memory of a training run."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from common.meters import MemoryMeter
from common.views import Views


class Throughput(Callback):
    """Logs windows and frames per second of all ranks together, the share of time spent waiting for data, and memory.

    Validation, checkpoints and the first step (compilation, cold caches) are left out. The waiting time is that of
    the first rank; near zero means that the network is the bottleneck.
    """

    def __init__(self) -> None:
        self._meter: MemoryMeter | None = None
        self._end: float | None = None
        self._warm = False
        self._logged = self._windows = self._frames = 0
        self._waiting = self._total = self._start = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start to measure."""
        self._meter, self._end, self._warm, self._logged = MemoryMeter(module.device), None, False, trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Views, index: int) -> None:
        """Add the time since the last batch to the waiting time."""
        self._start = time.perf_counter()
        if self._end is not None:
            self._waiting += self._start - self._end
            self._total += self._start - self._end

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Views, index: int
    ) -> None:
        """Log at the trainer's interval."""
        if self._warm:
            self._total += time.perf_counter() - self._start
            self._windows += batch.images.shape[0] * trainer.world_size
            self._frames += batch.images.shape[0] * batch.images.shape[1] * trainer.world_size
        self._warm = True
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step != self._logged and trainer.global_step % interval == 0:
            self._logged = trainer.global_step
            if self._windows and trainer.is_global_zero:
                for logger in trainer.loggers:
                    logger.log_metrics(self._values(module.device), step=trainer.global_step)
            self._windows = self._frames = 0
            self._waiting = self._total = 0.0
        self._end = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Exclude validation from the waiting time."""
        self._end = None

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Exclude writing checkpoints from the waiting time."""
        self._end = None

    def _values(self, device: torch.device) -> dict[str, float]:
        assert self._meter is not None
        peak = self._meter.peak()
        values = {
            "speed/windows_per_second": self._windows / self._total,
            "speed/frames_per_second": self._frames / self._total,
            "speed/data_wait_share": self._waiting / self._total,
            "memory/process_gib": peak.process / 2**30,
        }
        if device.type == "cuda":
            values["memory/gpu_gib"] = peak.device / 2**30
            values["memory/gpu_reserved_gib"] = torch.cuda.max_memory_reserved(device) / 2**30
        return values
