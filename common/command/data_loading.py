"""``python -m common.command.data_loading``: how fast one core reads training windows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hydra.utils import instantiate

from common.command.launch import launch
from common.command.registry import register
from common.command.verb import Verb
from common.profiling.data_loading import measure

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ThroughputCommand:
    """``configs/throughput.yaml``."""

    data: dict[str, Any] = field(metadata={"group": "data"})
    """Data set to read."""
    windows: int = 100
    """Windows of a round; the fastest of three counts."""
    batch_size: int = 4
    """Windows that are stacked together."""


def report(chosen: ThroughputCommand) -> None:
    """Measure the data set of the configuration."""
    result = measure(instantiate(chosen.data), chosen.windows, chosen.batch_size)
    logger.info("%s: %s", chosen.data.get("_target_", "data"), result.describe())


VERB = Verb(
    name="python -m common.command.data_loading",
    config="throughput",
    settings=ThroughputCommand,
    run=report,
    register=partial(register, "throughput", ThroughputCommand),
    summary="Speed of reading training windows on one core.",
    examples=("python -m common.command.data_loading data=rooms_folder data.root=DIR",),
)

if __name__ == "__main__":
    launch(VERB)
