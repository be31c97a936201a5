"""Check, before the first step, that what the best checkpoint is chosen by will be measured."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from common.data.scenes.datamodule import WindowData, collate
from common.data.scenes.order import EpochIndexed
from common.errors import ConfigurationError
from common.training.module import Objective

_PREFIX = "val/"


class MetricCheck(Callback):
    """Computes the terms of one validation window, and compares their names with those that checkpoints monitor."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Check.

        Raises:
            ConfigurationError: a monitored metric is none of the objective's; the message lists those.
        """
        data = getattr(trainer, "datamodule", None)
        savers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        wanted = {saver.monitor for saver in savers if saver.monitor and saver.monitor.startswith(_PREFIX)}
        if not wanted or not isinstance(data, WindowData) or not isinstance(module, Objective):
            return
        names = self._measured(module, data)
        for metric in sorted(wanted - names):
            known = ", ".join(sorted(name for name in names if name.count("/") == 1))
            raise ConfigurationError(f"best_metric: {metric} is not measured; there are: {known}")

    @staticmethod
    def _measured(module: Objective, data: WindowData) -> set[str]:
        first = next(iter(data.validation.values()))
        views = collate([EpochIndexed(first)[0]]).to(module.device)
        was_training = module.training
        module.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng():  # the run must not depend on this check
                terms = module.terms(views, training=False)
        finally:
            module.train(was_training)
        scalars = [name for name, value in terms.items() if value.ndim == 0]
        sets = ["", *(f"{name}/" for name in data.validation_names)] if len(data.validation_names) > 1 else [""]
        return {f"{_PREFIX}{part}{name}{end}" for part in sets for name in scalars for end in ("", "_median")}
