"""Preemption by a scheduler: save a checkpoint and exit with a code that asks to be re-queued."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from common.files import atomic_write

logger = logging.getLogger(__name__)

EXIT_REQUEUE = 75
"""``EX_TEMPFAIL`` of sysexits.h: a temporary failure, try again."""
SIGNALS = ("SIGTERM", "SIGUSR1")
CHECKPOINT_NAME = "preempted.ckpt"
MARKER_NAME = "requeue"


class Preemption(Callback):
    """On SIGTERM or SIGUSR1 to any rank, finishes the step, saves on all ranks and exits with a re-queue code.

    The state goes to ``preempted.ckpt``, which ``resume=auto`` finds. A file ``requeue`` beside the checkpoints serves
    scripts whose launcher hides the exit code (torchrun turns every code into 1); it is removed when training starts
    again. A signal during validation takes effect at its end: let the scheduler send it early enough.
    """

    def __init__(
        self, folder: str, signals: Sequence[str] = SIGNALS, exit_code: int = EXIT_REQUEUE, every_n_batches: int = 1
    ) -> None:
        """
        Args:
            folder: where the checkpoint and the marker go.
            signals: names of the signals to handle.
            exit_code: exit code of the first rank; the others exit with 0, so that no launcher kills the first one.
            every_n_batches: interval at which the ranks synchronize, as a signal may reach only one of them.
        """
        self.folder = Path(folder)
        self.signals = [signal.Signals[name] for name in signals]
        self.exit_code = exit_code
        self.every_n_batches = every_n_batches
        self._asked = False

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Install the signal handlers; Lightning's own handler would block on other ranks."""
        if trainer.is_global_zero:
            (self.folder / MARKER_NAME).unlink(missing_ok=True)
        for number in self.signals:
            signal.signal(number, self._ask)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Exit between two steps if a signal has arrived."""
        if (index + 1) % self.every_n_batches == 0:
            self._leave_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Exit after a validation if a signal has arrived."""
        if not trainer.sanity_checking:
            self._leave_if_asked(trainer)

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True

    def _leave_if_asked(self, trainer: Trainer) -> None:
        if not trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            return
        path = self.folder / CHECKPOINT_NAME
        trainer.save_checkpoint(path, weights_only=False)
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            # Lightning would log this step after the hook.
            values = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("train/")}
            for board in trainer.loggers:
                board.log_metrics(values, step=trainer.global_step - 1)
        if not trainer.is_global_zero:
            raise SystemExit(0)
        with atomic_write(self.folder / MARKER_NAME, "w") as file:
            file.write(f"step {trainer.global_step}\n")
        for board in trainer.loggers:
            board.finalize("interrupted")
        logger.warning("asked to stop: saved %s at step %d; exit code %d", path, trainer.global_step, self.exit_code)
        raise SystemExit(self.exit_code)


@contextmanager
def signals_forwarded(signals: Sequence[str] = SIGNALS) -> Iterator[None]:
    """Forward signals to child processes: if ranks are forks, the scheduler knows only their parent."""

    def forward(number: int, frame: Any) -> None:
        children = multiprocessing.active_children()
        for child in children:
            if child.pid is not None:
                os.kill(child.pid, number)
        if not children:  # not training (yet or any longer): there is nothing to save
            raise SystemExit(128 + number)

    before = {signal.Signals[name]: signal.signal(signal.Signals[name], forward) for name in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
