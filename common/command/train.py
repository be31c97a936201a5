"""A training run from its composed configuration."""

from __future__ import annotations

import logging
import sys
from dataclasses import fields, replace

import torch
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from common.command.line.multirun import with_own_output
from common.configuration import check_finite, to_dataclass
from common.errors import ConfigurationError
from common.files import check_writable
from common.training.callbacks.metric_check import MetricCheck
from common.training.callbacks.progress import TrainingProgress
from common.training.callbacks.run_record import RunRecord
from common.training.callbacks.step_bar import StepBar
from common.training.debug import debug_configuration
from common.training.session import fit
from common.training.settings import TrainSettings

logger = logging.getLogger(__name__)


def train(config: DictConfig) -> Trainer:
    """Build data, objective and trainer from the configuration, and fit."""
    config = with_own_output(config)
    if config.debug:
        logger.info("debug: two steps of a miniature network on procedural rooms, from no weights at all")
        config = debug_configuration(config)
    OmegaConf.resolve(config)
    check_finite(config)
    settings = to_dataclass({field.name: config[field.name] for field in fields(TrainSettings)}, TrainSettings)
    if config.debug:  # two steps that nobody keeps
        settings = replace(settings, overwrite=True)
    if config.trainer.get("accumulate_grad_batches", 1) < 1:
        raise ConfigurationError("trainer.accumulate_grad_batches must be at least 1")
    check_writable(settings.output)
    configuration = OmegaConf.to_yaml(config)
    seed_everything(settings.seed, verbose=False)
    if settings.threads:  # before any computation: ranks may be forks, in which thread pools do not survive
        torch.set_num_threads(settings.threads)
    data = instantiate(config.data)  # first, since missing data should be reported before weights are downloaded
    objective = instantiate(config.objective)
    record = RunRecord(configuration)
    callbacks = [callback for callback in instantiate(config.callbacks).values() if callback is not None]
    callbacks.append(MetricCheck())
    if config.trainer.get("enable_progress_bar", True):
        has_bar = config.trainer.enable_progress_bar = sys.stdout.isatty()  # where Lightning writes its bar
        callbacks.append(StepBar() if has_bar else TrainingProgress())
    return fit(
        settings,
        data,
        objective,
        [*callbacks, record],
        lambda every: instantiate(config.trainer, callbacks=every),
        configuration,
    )
