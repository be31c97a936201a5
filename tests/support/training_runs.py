"""Whole training runs for tests: a composed experiment, in this process or in one of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning import Callback, Trainer
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.command.train import train
from common.configuration import config_folder
from common.views import Views
from tests.support.configs import compose_config

EXPERIMENTS = sorted(file.stem for file in (config_folder() / "experiment").glob("*.yaml"))
TRAINERS = sorted(f.stem for f in (config_folder() / "trainer").glob("*.yaml") if not f.stem.startswith("_"))


def composed(experiment: str, *overrides: str) -> DictConfig:
    """The configuration of ``scripts/train.py experiment=...``."""
    GlobalHydra.instance().clear()
    config = compose_config("train", [f"experiment={experiment}", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def run(experiment: str, output: Path, *overrides: str) -> Trainer:
    """Train in this process; the run's files go to ``output``."""
    quiet = ("trainer.enable_progress_bar=false", "threads=1")
    return train(composed(experiment, f"output={output}", *quiet, *overrides))


def in_own_process(function: Callable[..., Any], *arguments: Any, timeout: float = 300) -> int | None:
    """Call a module's function in a process of its own; the exit code, negative for a signal, none if it hung.

    Such a process is a fork of a server that has imported torch and computed nothing: a fork of this one would wait
    for threads (OpenMP, gloo, OpenCV) that did not come along.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


def scalars(output: Path, tag: str) -> dict[int, float]:
    """A curve in a run's TensorBoard: value by step, in order, the newest where a step was done twice."""
    board = board_of(output)
    events = board.Scalars(tag) if tag in board.Tags()["scalars"] else []
    # A run and its continuation write a file each, which are read in the order of their names, not of their times.
    curve = {event.step: event.value for event in sorted(events, key=lambda event: event.wall_time)}
    return dict(sorted(curve.items()))


def board_of(output: Path) -> EventAccumulator:
    """A run's TensorBoard."""
    board = EventAccumulator(str(output / "tensorboard"))
    board.Reload()
    return board


class SignalAt(Callback):
    """Sends this process a signal in the middle of a step."""

    def __init__(self, step: int, name: str, rank: int = 0) -> None:
        self.step, self.name, self.rank = step, name, rank

    def on_before_zero_grad(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step + 1 == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), signal.Signals[self.name])


class SpoilInput(Callback):
    """Puts a NaN into the first image of some steps' batches."""

    def __init__(self, first: int, last: int, rank: int = 0) -> None:
        self.first, self.last, self.rank = first, last, rank

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Views, index: int) -> None:
        if self.first <= trainer.global_step + 1 <= self.last and trainer.global_rank == self.rank:
            batch.images[0, 0, 0, 0, 0] = float("nan")


class IdleParameters(Callback):
    """Fails at a step to which some parameter that learns has contributed nothing."""

    def on_before_optimizer_step(self, trainer: Trainer, module: Any, optimizer: Any) -> None:
        idle = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
        assert not idle, f"no gradient for {idle}"
