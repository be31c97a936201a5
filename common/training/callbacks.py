"""Callbacks of our training runs."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from common.checkpoints.hub import PretrainedModel

logger = logging.getLogger(__name__)


class ExportWeights(Callback):
    """Writes the model in our own format now and then and at the end: what `from_pretrained` reads."""

    def __init__(
        self,
        folder: str,
        every_n_steps: int = 1000,
        dtype: str = "float16",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            folder: where `PretrainedModel.save_pretrained` writes.
            every_n_steps: interval in optimizer steps.
            dtype: name of the torch type to store.
            metadata: goes into ``config.json``, e.g. the licence.
        """
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.dtype = getattr(torch, dtype)
        self.metadata = dict(metadata or {})

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *unused: Any) -> None:
        """Export at the interval."""
        if trainer.global_step and trainer.global_step % self.every_n_steps == 0:
            self._export(trainer, module)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Export the final weights."""
        self._export(trainer, module)

    def _export(self, trainer: Trainer, module: LightningModule) -> None:
        model = module.model
        assert isinstance(model, PretrainedModel)
        if trainer.is_global_zero:
            model.save_pretrained(self.folder, self.dtype, {**self.metadata, "steps": trainer.global_step})


class LearningCurve(Callback):
    """Appends a row per validation to a CSV file: step, seconds, and every validation term."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.start = time.monotonic()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the row (not for Lightning's sanity check before the first step)."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        values = {k.removeprefix("val/"): float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        row = {"step": trainer.global_step, "seconds": round(time.monotonic() - self.start, 1), **values}
        logger.info("validation: %s", "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
