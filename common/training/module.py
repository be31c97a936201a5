"""Base class of the training objectives: optimizer, named terms, skipped steps, validation per data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn

from common.training.acceleration import compile_blocks, recompute_activations, shard
from common.training.gradients import clip_gradients, poison_if_not_finite
from common.training.optim import OptimizerConfig, build_optimizer, freeze
from common.training.validation import WindowStatistics
from common.views import Views


class Objective(LightningModule, ABC):
    """A model, a loss with named terms, and an optimizer.

    A subclass implements `terms`, and optionally `pictures`. A step with a non-finite loss or gradient is skipped on
    all ranks and counted. Gradients are averaged over the ranks: with a loss that is a mean over the valid pixels of a
    rank's batch, all ranks have the same weight however many valid pixels each has (published).
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
        self.skipped_in_a_row = 0
        self._statistics = WindowStatistics()

    @abstractmethod
    def terms(self, views: Views, training: bool) -> dict[str, Tensor]:
        """Named loss terms of a batch; ``loss`` is minimized, scalars are logged."""

    def pictures(self, views: Views) -> dict[str, NDArray[np.uint8]]:
        """Visualizations (H, W, 3) RGB, by name, of the prediction for the first window of a batch."""
        return {}

    def accelerate(self, recompute: bool = False, compiled: bool = False) -> None:
        """See `common.training.acceleration`."""
        if recompute:
            recompute_activations(self.model)
        if compiled:
            compile_blocks(self)

    def training_step(self, views: Views, batch_index: int) -> Tensor:
        """The loss; if it is not finite, one that makes every rank skip the step."""
        terms = self.terms(views, training=True)
        for name, value in terms.items():
            if value.ndim == 0:
                self.log(f"train/{name}", value.detach(), prog_bar=name == "regression", batch_size=1)
        return poison_if_not_finite(terms["loss"])

    def validation_step(self, views: Views, batch_index: int, dataloader_idx: int = 0) -> None:
        """Collects the scalar terms of every window on its own."""
        names = validation_names(self)
        size = len(views.images)
        for item in range(size):
            terms = self.terms(views[item : item + 1], training=False)
            window = batch_index * size + item if views.sample is None else int(views.sample[item].flatten()[0])
            scalars = {name: float(value) for name, value in terms.items() if value.ndim == 0}
            self._statistics.add(names[dataloader_idx], window, scalars)

    def on_validation_epoch_start(self) -> None:
        """Drop values left by an interrupted validation."""
        self._statistics = WindowStatistics()

    def on_validation_epoch_end(self) -> None:
        """Logs means and medians over the windows of all ranks."""
        for name, value in self._statistics.summarize(validation_names(self)).items():
            self.log(f"val/{name}", value, prog_bar=name == "regression", rank_zero_only=False, sync_dist=False)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip, or skip the step: without gradients the optimizer changes neither parameters nor its state."""
        norm = clip_gradients(self.parameters(), self.optimizer_config.clip_norm)
        if norm.isfinite():
            self.skipped_in_a_row = 0
            self.log("train/gradient_norm", norm)
            return
        optimizer.zero_grad(set_to_none=True)
        self.skipped_steps += 1
        self.skipped_in_a_row += 1
        self.log("train/skipped_steps", float(self.skipped_steps))

    def configure_model(self) -> None:
        """Shard the parameters if the strategy has a device mesh (FSDP)."""
        if self._device_mesh is not None:
            shard(self, self._device_mesh["data_parallel"], ("training_step", "validation_step", "pictures"))

    def configure_optimizers(self):  # the return type is Lightning's own union
        """AdamW and its schedule per step."""
        total = int(self.trainer.estimated_stepping_batches)
        optimizer, schedule = build_optimizer(self, self.optimizer_config, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the counts of skipped steps."""
        checkpoint["skipped_steps"] = {"all": self.skipped_steps, "in_a_row": self.skipped_in_a_row}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counts of skipped steps."""
        counts = checkpoint.get("skipped_steps", {})
        self.skipped_steps, self.skipped_in_a_row = counts.get("all", 0), counts.get("in_a_row", 0)


def validation_names(module: LightningModule) -> list[str]:
    """Names of the validation sets of the data, in the order of their loaders."""
    data = getattr(module.trainer, "datamodule", None)
    return list(getattr(data, "validation_names", None) or ["validation"])
