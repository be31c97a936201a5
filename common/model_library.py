"""Models by name: find the description, load the networks, and prepare the model for a device.

A name stands for ``configs/model/<name>.yaml``. Each step has one type, which both systems use.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from omegaconf import OmegaConf

from common.configuration import config_folder, load_yaml, to_dataclass
from common.errors import CheckpointError, ConfigurationError
from common.paths import shipped_path, user_path
from common.revision import weights_revision

if TYPE_CHECKING:
    import torch

    from common.checkpoints.hub import PretrainedModel

logger = logging.getLogger(__name__)

DescriptionT = TypeVar("DescriptionT", bound="ModelDescription")
PretrainedT = TypeVar("PretrainedT", bound="PretrainedModel")
NetworkT = TypeVar("NetworkT")
SettingsT = TypeVar("SettingsT")


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """Common part of a file of ``configs/model``. Each system adds its weights and settings."""

    system: ClassVar[str] = "model"
    """Name of the system, for messages; its models are the files that begin with the name in lower case."""

    name: str
    """Name of the model, for reports."""
    sizes: dict[str, Any] = field(default_factory=dict)
    """Sizes that the weights must have; empty: whatever they have."""
    license: str = ""
    """Licence of the weights."""
    how_to_get: str = ""
    """Instructions shown when the weights are missing."""


@dataclass(frozen=True)
class LoadedModel(Generic[DescriptionT, NetworkT]):
    """Networks on the CPU, in float32 and evaluation mode."""

    description: DescriptionT
    network: NetworkT
    """The network, or a named tuple of several."""
    provenance: dict[str, Any]
    """Facts for reports: name, licence, and source and revision of the weights."""


@dataclass(frozen=True)
class ReadyModel(Generic[DescriptionT, NetworkT, SettingsT]):
    """Model on its device, with the settings of the run."""

    description: DescriptionT
    network: NetworkT
    settings: SettingsT
    device: torch.device
    provenance: dict[str, Any]
    """As in `LoadedModel`, with the device."""


def find_description(choice: str | Path | Mapping, kind: type[DescriptionT]) -> DescriptionT | None:
    """Read the description that a choice stands for: a model's name, a YAML file, or the content of one.

    Returns:
        None where the choice is none of these; it may be a path of weights then.

    Raises:
        ConfigurationError: the description is faulty, or that of another system.
    """
    if isinstance(choice, Mapping) or OmegaConf.is_config(choice):
        return to_dataclass(choice, kind)
    path = user_path(choice)
    named = config_folder() / "model" / f"{choice}.yaml"
    file = named if path.name == str(choice) and named.is_file() else path
    if file.suffix not in (".yaml", ".yml") or not file.is_file():
        return None
    try:
        return to_dataclass(load_yaml(file), kind)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file} does not describe a {kind.system} model: {error}") from error


def unknown_model(choice: object, kind: type[ModelDescription], alternatives: str) -> ConfigurationError:
    """Make the error for a choice that stands for no model; it names the models that are known."""
    files = (config_folder() / "model").glob(f"{kind.system.lower()}_*.yaml")
    known = ", ".join(sorted(file.stem for file in files))
    return ConfigurationError(f"no model {str(choice)!r:.200}: known are {known}; or give {alternatives}")


def load_network(kind: type[PretrainedT], source: str, description: ModelDescription) -> PretrainedT:
    """Load one network of a model, and check that it has the described sizes.

    Args:
        kind: class of the network.
        source: hub id, folder or file; a relative path is looked for here, then beside the code.
        description: of the model.

    Raises:
        CheckpointError: the weights are missing (the message says how to get them), damaged, or of another model.
        ConfigurationError: the described sizes are invalid for such a network.
    """
    try:
        network = kind.from_pretrained(source)
    except CheckpointError as error:
        is_here = shipped_path(source).exists()
        hint = f" ({description.how_to_get})" if description.how_to_get and not is_here else ""
        raise CheckpointError(f"model {description.name}: {error}{hint}") from error
    own = network.config.to_dict()
    wanted = to_dataclass(description.sizes, type(network.config), "model.sizes").to_dict() if description.sizes else {}
    compared = sorted(set(description.sizes) - set(kind.flexible_sizes))
    wrong = [f"{key} {own[key]}, not {wanted[key]}" for key in compared if own[key] != wanted[key]]
    if wrong:
        raise CheckpointError(f"{source} does not hold the weights of {description.name}: {', '.join(wrong)}")
    return network


def describe_origin(description: ModelDescription) -> dict[str, Any]:
    """Name and licence for `LoadedModel.provenance`; a licence is logged, since it may restrict the use."""
    if not description.license:
        return {"name": description.name}
    logger.info("%s: weights under %s", description.name, description.license)
    return {"name": description.name, "license": description.license}


def describe_weights(source: str, network: PretrainedModel) -> dict[str, Any]:
    """Source and revision of one network's weights for `LoadedModel.provenance`."""
    report = network.load_report
    return {"weights": source, "revision": None if report is None else weights_revision(report.source)}
