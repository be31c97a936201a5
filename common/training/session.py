"""One training run from its parts: seeds, number formats, resuming, averaging, and the fit itself."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

import torch
import torch.nn.attention
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.multiprocessing import ProcessExitedException

from common.data.scenes.datamodule import WindowData
from common.training.callbacks.preemption import signals_forwarded
from common.training.checkpoint_io import choose_checkpoint
from common.training.module import Objective
from common.training.settings import TrainSettings

logger = logging.getLogger(__name__)


def fit(
    settings: TrainSettings,
    data: LightningDataModule,
    objective: Objective,
    callbacks: Sequence[Callback],
    make_trainer: Callable[[list[Callback]], Trainer],
    configuration: str | None = None,
) -> Trainer:
    """Train to the end, or until a scheduler requests a stop.

    Args:
        settings: see ``configs/train.yaml``.
        data: windows for training and validation.
        objective: model, loss and optimizer.
        callbacks: Lightning callbacks.
        make_trainer: builds Lightning's trainer around all callbacks.
        configuration: resolved YAML of the run, compared with that of the checkpoint to resume from.

    Returns:
        The trainer, with the last metrics.

    Raises:
        ConfigurationError: an epoch is too short for a batch on every device.
        CheckpointError: the checkpoint to resume from is missing, damaged or of another run.
        InputError: there are checkpoints already, and neither resuming nor overwriting was requested.
        SystemExit: with the re-queue code, when a scheduler requested a stop; see
            `common.training.callbacks.preemption`.
    """
    checkpoint = choose_checkpoint(settings.resume, f"{settings.output}/checkpoints", configuration, settings.overwrite)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    _describe(objective)
    objective.accelerate(settings.recompute_activations, settings.compile)
    # First in the list, so that averaged weights are in place when the others run at the end of training.
    average = [EMAWeightAveraging(decay=settings.ema_decay)] if settings.ema_decay else []
    trainer = make_trainer([*average, *callbacks])
    if isinstance(data, WindowData):
        data.check_ranks(trainer.num_devices * trainer.num_nodes)
    with _attention(settings.attention_backend), signals_forwarded():
        try:
            path = None if checkpoint is None else str(checkpoint)
            trainer.fit(objective, datamodule=data, ckpt_path=path, weights_only=True)
        except ProcessExitedException as error:  # a rank that is a fork of this process has exited with a code
            raise SystemExit(error.exit_code) from None
    return trainer


def _describe(objective: Objective) -> None:
    parameters = list(objective.model.parameters())
    learning = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    name = type(objective.model).__name__
    logger.info("%s: %.2f M parameters, %.2f M of them trainable", name, total / 1e6, learning / 1e6)


def _attention(backend: str | None) -> contextlib.AbstractContextManager:
    if backend is None:
        return contextlib.nullcontext()
    return torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend.upper()))
