"""Exports the weights of a training run in our own format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from common.checkpoints.hub import PretrainedModel


class ExportWeights(Callback):
    """Exports the model at intervals and at the end, in the format that `from_pretrained` reads."""

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
            metadata: further entries of ``config.json``, e.g. the licence.
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
    """The model itself, or a CPU copy with all weights if it is sharded. All ranks must call this."""
    assert isinstance(model, PretrainedModel)
    if not any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        return model
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    with torch.device("meta"):
        copy = type(model)(**model.config.to_dict())
    if state:  # only the first rank holds it
        copy.load_state_dict(state, assign=True)
    return copy
