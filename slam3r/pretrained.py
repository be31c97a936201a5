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

from common.checkpoints.hub import CheckpointError, PretrainedModel
from common.configuration import ConfigurationError, config_folder, to_dataclass
from common.revision import revision_of
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.settings import ReconstructionSettings

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=PretrainedModel)


@dataclass(frozen=True)
class WeightPaths:
    """Hub id, folder or file of each network; relative paths are looked for here, then in the checkout."""

    image_to_points: str
    local_to_world: str


@dataclass(frozen=True)
class ModelConfidence:
    """The thresholds that suit a model, and what of its answers to trust. The defaults are the published ones."""

    local: float = 1.5
    """I2P: a point strictly above it is used."""
    registered: float = 12.0
    """L2W: a point strictly above it is exported."""
    initial: float = 5.0
    """Mean over an initial window below which a shorter one is tried."""
    weak: float = 10.0
    """Mean over a registered frame below which it is reported as weak."""
    rigid: bool = False
    """L2W is surer of where a frame stands than of where each of its pixels does: `rigid_registration`."""
    rigid_neighbours: int = 0
    """I2P is surer of how a frame stands to those before it than L2W of where it stands: so many vote as well."""
    rigid_tracks: bool = False
    """Optical flow is surer than both of which points are the same: `ReconstructionSettings.rigid_tracks`."""

    def settings(self, changes: Mapping[str, Any] | None = None) -> ReconstructionSettings:
        """Reconstruction settings for the model, with the user's changes, which win.

        Raises:
            ConfigurationError: an unknown key, or a value that does not fit.
        """
        own = {
            "local_threshold": self.local,
            "initial_confidence": self.initial,
            "weak_confidence": self.weak,
            "rigid_registration": self.rigid,
            "rigid_neighbours": self.rigid_neighbours,
            "rigid_tracks": self.rigid_tracks,
        }
        return to_dataclass({**own, **(changes or {})}, ReconstructionSettings)


@dataclass(frozen=True)
class ModelConfig:
    """A file of ``configs/model``."""

    name: str
    weights: WeightPaths
    sizes: dict[str, Any] = field(default_factory=dict)
    """Sizes (`slam3r.models.config.BackboneConfig`) that the weights must have; empty: whatever they have."""
    confidence: ModelConfidence = field(default_factory=ModelConfidence)
    license: str = ""
    how_to_get: str = ""
    """Told when the weights are missing."""


@dataclass
class LoadedModel:
    """Both networks, on the CPU in float32, and what is known of them."""

    image_to_points: ImageToPoints
    local_to_world: LocalToWorld
    confidence: ModelConfidence = field(default_factory=ModelConfidence)
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
        return to_dataclass(OmegaConf.load(named), ModelConfig)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return to_dataclass(OmegaConf.load(path), ModelConfig)
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
        description[key] = {"weights": paths[key], "revision": None if file is None else revision_of(file)}
    return LoadedModel(image_to_points, local_to_world, config.confidence, description)


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
