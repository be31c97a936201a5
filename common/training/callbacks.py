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
from common.files import atomic_write

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
        model = whole_model(module.model)
        if trainer.is_global_zero:
            model.save_pretrained(self.folder, self.dtype, {**self.metadata, "steps": trainer.global_step})


def whole_model(model: Any) -> PretrainedModel:
    """The model itself; of a sharded one a copy on the processor with all its weights. All ranks must call."""
    assert isinstance(model, PretrainedModel)
    if not any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        return model
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    with torch.device("meta"):
        copy = type(model)(**model.config.to_dict())
    if state:  # only the first rank holds it
        copy.load_state_dict(state, assign=True)
    return copy


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
