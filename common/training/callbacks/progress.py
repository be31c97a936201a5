"""Progress of a training run as lines, for a log file in which Lightning's bar would be one endless line."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from common.progress import INTERVAL, ProgressReporter

_STAGE = "train"


class TrainingProgress(Callback):
    """Reports steps, losses at the trainer's logging interval, and validation, by the first rank.

    Args:
        interval: seconds between lines.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._training: ProgressReporter | None = None
        self._validation: ProgressReporter | None = None
        self._reported = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin to report; the step is that of the checkpoint, if there is one."""
        steps = trainer.estimated_stepping_batches
        total = float(steps) if 0 < steps < float("inf") else None
        show, self._reported = trainer.is_global_zero, trainer.global_step
        self._training = ProgressReporter(
            _STAGE, total, "step", initial=self._reported, show=show, interval=self._interval
        )
        self._training.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Count optimizer steps."""
        if self._training is None or trainer.global_step == self._reported:
            return
        self._training.update(trainer.global_step - self._reported)
        self._reported = trainer.global_step
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            losses = [f"{name} {float(value):.4g}" for name, value in trainer.progress_bar_metrics.items()]
            self._training.describe(" ".join([_STAGE, *(["with", ", ".join(losses)] if losses else [])]))

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin to report a validation inside the training."""
        self._validation = ProgressReporter(
            "validate", None, "batch", show=trainer.is_global_zero, interval=self._interval
        )
        self._validation.__enter__()

    def on_validation_batch_end(self, *arguments: Any, **values: Any) -> None:
        """Count batches."""
        if self._validation is not None:
            self._validation.update()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """End the report of a validation."""
        if self._validation is not None:
            self._validation.__exit__()
            self._validation = None

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """End the report."""
        self._close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """End the report of a run that failed or was stopped."""
        self._close()

    def _close(self) -> None:
        for reporter in (self._validation, self._training):
            if reporter is not None:
                reporter.__exit__()
        self._validation = self._training = None
