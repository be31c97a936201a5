"""Random states, configuration and code revision in checkpoints, for exact resuming and provenance."""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from common.revision import code_revision

logger = logging.getLogger(__name__)

_KEY = "run_record"


class RunRecord(Callback):
    """Stores the random states of all ranks, the resolved configuration and the revision of the code."""

    def __init__(self, configuration: str = "") -> None:
        """
        Args:
            configuration: resolved YAML of the run.
        """
        self.configuration = configuration
        self._restored: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Runs on every rank; the first one writes."""
        checkpoint[_KEY] = {
            "random_states": _of_all_ranks(random_states()),
            "configuration": self.configuration,
            "revision": code_revision()["commit"],
        }

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the states until training starts, since building loaders draws random numbers too."""
        record = checkpoint.get(_KEY)
        if record is None:
            return
        self._restored = record["random_states"]
        if record["revision"] != (now := code_revision()["commit"]):
            logger.info("the checkpoint was written by revision %s, this is %s", record["revision"], now)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_index: int) -> None:
        """Restore the states before the first step."""
        states, self._restored = self._restored, None
        if states is None:
            return
        if len(states) == trainer.world_size:
            restore_random_states(states[trainer.global_rank])
        else:
            logger.info("%d ranks now, %d before: random states are re-initialized", trainer.world_size, len(states))


def random_states() -> dict[str, Any]:
    """States of all global random generators of this process, as tensors and plain values."""
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 - it may be in use
    return {
        "python": [version, list(internal), gauss],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys, np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _of_all_ranks(value: dict[str, Any]) -> list[dict[str, Any]]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    everyone: list[dict[str, Any]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(everyone, value)
    return everyone
