"""Writes the figures of every validation to a CSV file."""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from common.files import atomic_write

logger = logging.getLogger(__name__)


class LearningCurve(Callback):
    """A row per validation in a CSV file: step, seconds of training, and every validation term.

    A run that goes on from a checkpoint goes on with the file: rows of steps that are trained again are replaced.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._start = time.monotonic()
        self._rows: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Take over what there is up to here."""
        if trainer.global_step and self.path.exists():
            with self.path.open(newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= trainer.global_step]
        before = float(self._rows[-1]["seconds"]) if self._rows else 0.0
        self._start = time.monotonic() - before

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the row (not for Lightning's sanity check before the first step)."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        values = {k.removeprefix("val/"): float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        row = {"step": trainer.global_step, "seconds": round(time.monotonic() - self._start, 1), **values}
        logger.info("validation: %s", "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
        self._rows = [kept for kept in self._rows if int(kept["step"]) != trainer.global_step] + [row]
        columns = list(dict.fromkeys(name for kept in self._rows for name in kept))
        with atomic_write(self.path, "w") as file:
            writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
