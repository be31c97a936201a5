"""Stops a run after too many non-finite steps in a row, and names the samples."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from common.training.module import Objective
from common.views import Views

logger = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """Raised after too many non-finite steps in a row; the message names their samples."""


class NonFiniteStop(Callback):
    """Logs the samples of non-finite steps, which `Objective` skips, and ends the run after many in a row.

    A single bad sample costs one step and a line in the log. Many in a row mean that training has diverged.
    """

    def __init__(self, patience: int = 10) -> None:
        """
        Args:
            patience: bad steps in a row that end the run.
        """
        self.patience = patience
        self._batches: list[tuple[Tensor | None, Tensor]] = []
        self._step = self._skipped = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start counting at the current state of the run."""
        self._step, self._skipped = trainer.global_step, _as_objective(module).skipped_steps

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Views, *_: Any
    ) -> None:
        """Record a step's batches; after the step, check whether it was skipped."""
        self._batches.append((batch.sample, outputs["loss"].isfinite()))  # described only if needed
        if trainer.global_step == self._step:  # gradients are being accumulated
            return
        batches, self._batches, self._step = self._batches, [], trainer.global_step
        objective = _as_objective(module)
        if objective.skipped_steps == self._skipped:
            return
        self._skipped = objective.skipped_steps
        bad = [sample for sample, finite in batches if not finite]
        names = _describe(trainer, bad or [sample for sample, _ in batches])
        what = "the loss" if bad else "a gradient"
        logger.warning("step %d skipped: %s is not finite; samples: %s", self._step, what, "; ".join(names))
        if objective.skipped_in_a_row >= self.patience:
            raise TrainingDiverged(
                f"{objective.skipped_in_a_row} steps in a row had a loss or a gradient that is not finite, the last at "
                f"step {self._step} with {'; '.join(_gather(names))}. Lower the learning rate, clip the gradient "
                "(objective.optimizer.clip_norm=1.0), or look at these samples"
            )


def _as_objective(module: LightningModule) -> Objective:
    assert isinstance(module, Objective)
    return module


def _describe(trainer: Trainer, samples: list[Tensor | None]) -> list[str]:
    """Names of the windows of batches, or their numbers if the data has no names."""
    numbers = sorted({int(number) for sample in samples if sample is not None for number in sample.flatten()})
    describe = getattr(getattr(trainer, "datamodule", None), "describe", "sample {}".format)
    return [str(describe(number)) for number in numbers] or ["samples without numbers"]


def _gather(names: list[str]) -> list[str]:
    """Names from all ranks, without duplicates."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return names
    everyone: list[list[str]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(everyone, names)
    return list(dict.fromkeys(name for part in everyone for name in part))
