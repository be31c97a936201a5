"""A model by name: its two sets of weights, what its confidences mean, and where all of it comes from.

A name stands for ``configs/model/<name>.yaml``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import OmegaConf

from common.checkpoints.hub import PretrainedModel
from common.configuration import config_folder, load_yaml, to_dataclass
from common.errors import CheckpointError, ConfigurationError
from common.revision import weights_revision
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.description import ModelConfidence, ModelConfig, WeightPaths
from slam3r.reconstruction.networks import Networks

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=PretrainedModel)


@dataclass
class LoadedModel:
    """Both networks, on the CPU in float32, and what is known of them."""

    image_to_points: ImageToPoints
    local_to_world: LocalToWorld
    confidence: ModelConfidence = field(default_factory=ModelConfidence)
    reconstruction: dict[str, Any] = field(default_factory=dict)
    """As in `ModelConfig`."""
    description: dict[str, Any] = field(default_factory=dict)
    """For the summary: name, licence, and source and revision of each set of weights."""

    def networks(self, device: torch.device, dtype: torch.dtype, memory_chunk: int | None = None) -> Networks:
        """Ready to run. The two networks are moved and converted in place: to use them again, keep what this returns.

        Raises:
            CheckpointError: the two do not belong together.
        """
        try:
            return Networks(self.image_to_points, self.local_to_world, device, dtype, memory_chunk)
        except ValueError as error:
            raise CheckpointError(str(error)) from error


ModelChoice = str | Path | Sequence | Mapping | ModelConfig | LoadedModel
"""What stands for a model: a name, a folder with ``image_to_points`` and ``local_to_world``, a YAML file like those of
``configs/model``, a pair of weights (each a hub id, a folder or a file), a pair of networks, or one loaded before."""


def load_model(choice: ModelChoice) -> LoadedModel:
    """Load both networks.

    Raises:
        ConfigurationError: no such model, or a faulty YAML file.
        CheckpointError: weights are missing (the message says how to get them), damaged, or of another model.
    """
    found = find_model(choice)
    return found if isinstance(found, LoadedModel) else _load(found)


def find_model(choice: ModelChoice) -> ModelConfig | LoadedModel:
    """What a choice stands for; reads no weights.

    Raises:
        ConfigurationError: no such model, or a faulty description.
    """
    if isinstance(choice, (ModelConfig, LoadedModel)):
        return choice
    if isinstance(choice, Mapping) or OmegaConf.is_config(choice):
        return to_dataclass(choice, ModelConfig)
    if isinstance(choice, (str, Path)):
        return _find_by_name(choice)
    if isinstance(choice, Sequence) and len(choice) == 2:
        first, second = list(choice)
        if isinstance(first, ImageToPoints) and isinstance(second, LocalToWorld):
            return LoadedModel(first, second, description={"name": "given networks"})
        if isinstance(first, (str, Path)) and isinstance(second, (str, Path)):
            return ModelConfig("given weights", WeightPaths(str(first), str(second)))
    raise ConfigurationError(f"model: expected a name, a path or a pair of weights, got {choice!r:.200}")


def _find_by_name(choice: str | Path) -> ModelConfig:
    path = Path(choice).expanduser()
    named = config_folder() / "model" / f"{choice}.yaml"
    if path.name == str(choice) and named.is_file():
        return to_dataclass(load_yaml(named), ModelConfig)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return to_dataclass(load_yaml(path), ModelConfig)
    if path.is_dir():
        weights = WeightPaths(str(path / "image_to_points"), str(path / "local_to_world"))
        return ModelConfig(path.name, weights)
    known = ", ".join(sorted(file.stem for file in (config_folder() / "model").glob("*.yaml")))
    raise ConfigurationError(f"no model {str(choice)!r}: known are {known}; or give a folder or a pair of weights")


def _load(config: ModelConfig) -> LoadedModel:
    paths = asdict(config.weights)
    image_to_points = _load_network(ImageToPoints, paths["image_to_points"], config)
    local_to_world = _load_network(LocalToWorld, paths["local_to_world"], config)
    description: dict[str, Any] = {"name": config.name}
    if config.license:
        description["license"] = config.license
        logger.info("%s: weights under %s", config.name, config.license)
    for key, network in (("image_to_points", image_to_points), ("local_to_world", local_to_world)):
        file = network.load_report.source if network.load_report else None
        description[key] = {"weights": paths[key], "revision": None if file is None else weights_revision(file)}
    return LoadedModel(image_to_points, local_to_world, config.confidence, config.reconstruction, description)


def _load_network(kind: type[ModelT], source: str, config: ModelConfig) -> ModelT:
    place = Path(source).expanduser()
    in_checkout = config_folder().parent / place
    is_here = place.exists() or in_checkout.exists()
    where = str(in_checkout) if is_here and not place.exists() else source
    try:
        network = kind.from_pretrained(where)
    except CheckpointError as error:
        hint = f" ({config.how_to_get})" if config.how_to_get and not is_here else ""
        raise CheckpointError(f"model {config.name}: {error}{hint}") from error
    own = network.config.to_dict()
    wrong = [f"{key} {own[key]}, not {size}" for key, size in config.sizes.items() if key in own and own[key] != size]
    if wrong:
        raise CheckpointError(f"{source} does not hold the weights of {config.name}: {', '.join(wrong)}")
    return network
