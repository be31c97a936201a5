"""Jobs of a multirun (``-m``): outputs of their own."""

from __future__ import annotations

import copy

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig


def with_own_output(config: DictConfig) -> DictConfig:
    """Give every job of a multirun the folder ``job_N`` of its output, also where the user names the output: runs that
    share one would move each other's checkpoints aside.

    Not for evaluations, whose jobs share the scenes of one benchmark and its report.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return config
    result = copy.deepcopy(config)
    result.output = f"{config.output}/job_{HydraConfig.get().job.num}"
    return result
