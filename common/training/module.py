"""What every training objective shares: optimizer, logging of terms, skipped steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning import LightningModule
from torch import Tensor, nn

from common.training.optim import OptimizerConfig, build_optimizer, freeze
from common.views import Views


class Objective(LightningModule):
    """A model, a loss with named terms, and an optimizer.

    A subclass implements `terms`. A step whose loss is not finite is skipped and counted.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig, frozen: Sequence[str] = ()) -> None:
        """
        Args:
            model: the network to train.
            optimizer: hyper-parameters.
            frozen: regular expressions of parameter names that do not learn.
        """
        super().__init__()
        self.model = model
        self.optimizer_config = optimizer
        self.frozen_names = freeze(model, frozen)
        self.skipped_steps = 0

    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """Named loss terms of a batch; ``loss`` is minimized, scalars are logged."""
        raise NotImplementedError

    def training_step(self, views: Views, batch_index: int) -> Tensor | None:
        """One step; None (skip) when the loss is not finite."""
        terms = self.terms(views, training=True)
        loss = terms["loss"]
        if not torch.isfinite(loss):
            self.skipped_steps += 1
            self.log("train/skipped_steps", float(self.skipped_steps))
            return None
        for name, value in terms.items():
            if value.ndim == 0:
                self.log(f"train/{name}", value.detach(), prog_bar=name == "regression", batch_size=1)
        return loss

    def validation_step(self, views: Views, batch_index: int) -> None:
        """Logs the batch means of all scalar terms."""
        for name, value in self.terms(views, training=False).items():
            if value.ndim == 0:
                self.log(f"val/{name}", value, prog_bar=name == "regression", batch_size=len(views.images))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients. Here, not by the trainer, which does not clip for fused optimizers."""
        if self.optimizer_config.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self.parameters(), self.optimizer_config.clip_norm)
            self.log("train/gradient_norm", norm)

    def configure_optimizers(self):  # the return type is Lightning's own union
        """AdamW and its schedule per step."""
        total = int(self.trainer.estimated_stepping_batches)
        optimizer, schedule = build_optimizer(self, self.optimizer_config, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
