"""Visualizations of predictions in TensorBoard."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from common.training.module import Objective, validation_names
from common.views import Views

logger = logging.getLogger(__name__)


class Pictures(Callback):
    """Logs the first window of a training batch at intervals, and the first one of every validation set.

    The validation windows are always the same, so their pictures can be compared through the run.
    """

    def __init__(self, every_n_steps: int = 1000, validation: bool = True) -> None:
        """
        Args:
            every_n_steps: interval of the training pictures, optimizer steps; 0 for none.
            validation: also at every validation.
        """
        self.every_n_steps = every_n_steps
        self.validation = validation
        self._drawn_at = -1

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Views, index: int
    ) -> None:
        """Draw at the interval."""
        step = trainer.global_step
        if self.every_n_steps and step % self.every_n_steps == 0 and step != self._drawn_at:
            self._drawn_at = step
            self._draw(trainer, module, batch, "train")

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Views, index: int, dataloader_idx: int = 0
    ) -> None:
        """Draw the first window of a set."""
        if self.validation and index == 0 and not trainer.sanity_checking:
            self._draw(trainer, module, batch, validation_names(module)[dataloader_idx])

    def _draw(self, trainer: Trainer, module: LightningModule, batch: Views, tag: str) -> None:
        assert isinstance(module, Objective)
        boards = [board for board in trainer.loggers if isinstance(board, TensorBoardLogger)]
        # Every rank computes them, since all must gather sharded parameters; only the first one writes.
        training = module.training
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            module.eval()
            pictures = module.pictures(batch[:1])
            module.train(training)
        for board in boards if trainer.is_global_zero else ():
            for name, picture in pictures.items():
                board.experiment.add_image(f"{tag}/{name}", picture, trainer.global_step, dataformats="HWC")
