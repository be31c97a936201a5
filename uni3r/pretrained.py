"""A Uni3R by name: its weights, and where they come from. A name stands for ``configs/model/<name>.yaml``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from common.configuration import config_folder, load_yaml, to_dataclass
from common.errors import CheckpointError, ConfigurationError
from common.revision import weights_revision
from uni3r.models.config import Uni3RConfig
from uni3r.models.description import ModelConfig
from uni3r.models.uni3r import Uni3R

logger = logging.getLogger(__name__)


@dataclass
class LoadedModel:
    """The network, on the CPU in float32 and evaluation mode, and what is known of it."""

    model: Uni3R
    inference: dict[str, Any] = field(default_factory=dict)
    """As in `ModelConfig`."""
    description: dict[str, Any] = field(default_factory=dict)
    """For the summary: name, licence, source and revision of the weights."""


ModelChoice = str | Path | Mapping | ModelConfig | LoadedModel
"""What stands for a model: a name, a weights folder or file, a YAML file like those of ``configs/model``, or one loaded
before."""


def load_model(choice: ModelChoice) -> LoadedModel:
    """Load a network.

    Raises:
        ConfigurationError: no such model, or a faulty description.
        CheckpointError: weights are missing (the message says how to get them), damaged, or of another model.
    """
    found = find_model(choice)
    if isinstance(found, LoadedModel):
        return found
    model = _load(found)
    report = model.load_report
    description: dict[str, Any] = {"name": found.name, "weights": found.weights}
    description["revision"] = weights_revision(report.source) if report else None
    if found.license:
        description["license"] = found.license
        logger.info("%s: weights under %s", found.name, found.license)
    return LoadedModel(model, found.inference, description)


def find_model(choice: ModelChoice) -> ModelConfig | LoadedModel:
    """What a choice stands for; reads no weights.

    Raises:
        ConfigurationError: no such model, or a faulty description.
    """
    if isinstance(choice, (ModelConfig, LoadedModel)):
        return choice
    if isinstance(choice, Mapping) or OmegaConf.is_config(choice):
        return to_dataclass(choice, ModelConfig)
    path = Path(choice).expanduser()
    folder = config_folder() / "model"
    named = folder / f"{choice}.yaml"
    if path.name == str(choice) and named.is_file():
        return _described(named)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return _described(path)
    if path.exists() or str(choice).count("/") == 1:  # weights here, or a hub id
        return ModelConfig(path.name, str(choice))
    known = ", ".join(sorted(file.stem for file in folder.glob("uni3r_*.yaml")))
    raise ConfigurationError(f"no model {str(choice)!r}: known are {known}; or give a weights folder, file or hub id")


def _described(file: Path) -> ModelConfig:
    try:
        return to_dataclass(load_yaml(file), ModelConfig)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file} does not describe a Uni3R: {error}") from error


def _load(config: ModelConfig) -> Uni3R:
    place = Path(config.weights).expanduser()
    in_checkout = config_folder().parent / place
    is_here = place.exists() or in_checkout.exists()
    source = str(in_checkout) if is_here and not place.exists() else config.weights
    try:
        model = Uni3R.from_pretrained(source)
    except CheckpointError as error:
        hint = f" ({config.how_to_get})" if config.how_to_get and not is_here else ""
        raise CheckpointError(f"model {config.name}: {error}{hint}") from error
    if config.sizes:
        wanted, own = to_dataclass(config.sizes, Uni3RConfig).to_dict(), model.config.to_dict()
        given = {key for key in config.sizes if key not in _NOT_OF_THE_WEIGHTS}
        wrong = [f"{key} {own[key]}, not {wanted[key]}" for key in sorted(given) if own[key] != wanted[key]]
        if wrong:
            raise CheckpointError(f"{source} does not hold the weights of {config.name}: {'; '.join(wrong)}")
    return model


_NOT_OF_THE_WEIGHTS = ("checkpointing", "table_side")
"""What may differ: how training saves memory, and the position table, which released files have in two sizes."""
