"""Uni3R models by name; see `common.model_library`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from common.configuration import config_folder, load_yaml
from common.device import choose_device
from common.errors import ConfigurationError
from common.model_library import (
    LoadedModel,
    ReadyModel,
    describe_origin,
    describe_weights,
    find_description,
    load_network,
    unknown_model,
)
from common.paths import user_path
from uni3r.models.description import InferenceSettings, Uni3rDescription
from uni3r.models.uni3r import Uni3R
from uni3r.semantics.teacher import Teacher

LoadedUni3R = LoadedModel[Uni3rDescription, Uni3R]
ReadyUni3R = ReadyModel[Uni3rDescription, Uni3R, InferenceSettings]
ModelChoice = str | Path | Mapping | Uni3rDescription | LoadedModel | ReadyModel
"""Choice of a model: a name, a weights folder or file, a YAML file like those of ``configs/model``, or one loaded
or made ready before."""


def find_model(choice: str | Path | Mapping | Uni3rDescription | LoadedModel) -> Uni3rDescription | LoadedUni3R:
    """Find what a choice stands for; reads no weights.

    Raises:
        ConfigurationError: no such model, or a faulty description.
    """
    if isinstance(choice, (Uni3rDescription, LoadedModel)):
        return choice
    found = find_description(choice, Uni3rDescription)
    if found is not None:
        return found
    if user_path(str(choice)).exists() or str(choice).count("/") == 1:  # weights here, or a hub id
        return Uni3rDescription(name=Path(str(choice)).name, weights=str(choice))
    raise unknown_model(choice, Uni3rDescription, "a weights folder, file or hub id")


def load_model(choice: str | Path | Mapping | Uni3rDescription | LoadedModel) -> LoadedUni3R:
    """Load the network.

    Raises:
        ConfigurationError: no such model, or a faulty description.
        CheckpointError: weights are missing (the message says how to get them), damaged, or of another model.
    """
    found = find_model(choice)
    if isinstance(found, LoadedModel):
        return found
    network = load_network(Uni3R, found.weights, found)
    return LoadedModel(found, network, {**describe_origin(found), **describe_weights(found.weights, network)})


def ready_model(choice: ModelChoice, size: tuple[int, int] | None = None, device: str = "auto") -> ReadyUni3R:
    """Load a model and put it on a device, with its own inference settings or another image size.

    Args:
        choice: the model, see `ModelChoice`; one that is ready stays on its device.
        size: (height, width) of the network's images, pixels; None takes the model's own.
        device: auto, cuda, mps or cpu.

    Raises:
        ConfigurationError: no such model or device, a faulty description, or a size that does not fit the patches.
        CheckpointError: weights are missing (the message says how to get them), damaged, or of another model.
    """
    if isinstance(choice, ReadyModel):
        ready: ReadyUni3R = choice
    else:
        hardware = choose_device(device)
        loaded = load_model(choice)
        network = loaded.network.to(hardware).eval()
        provenance = {**loaded.provenance, "device": str(hardware)}
        ready = ReadyModel(loaded.description, network, loaded.description.inference, hardware, provenance)
    if size is None:
        return ready
    patch = ready.network.config.patch_size
    if any(side < patch or side % patch for side in size):
        raise ConfigurationError(f"size is made of multiples of {patch} for this model, got {list(size)}")
    return replace(ready, settings=replace(ready.settings, size=(size[0], size[1])))


def load_teacher(name: str | None, source: str | None = None) -> Teacher | None:
    """Load the teacher that a model was trained with; None if it has none.

    Args:
        name: file of ``configs/teacher``; see `InferenceSettings.teacher`.
        source: its weights, for a teacher that needs some (``source: ???``).

    Raises:
        ConfigurationError: no such teacher, or it needs weights.
        CheckpointError: these are missing or damaged.
        ImportError: naming the extra to install.
    """
    if name is None:
        return None
    path = config_folder() / "teacher" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise ConfigurationError(f"no teacher {name!r}: known are {known}")
    config = load_yaml(path)
    if source is not None:
        config["source"] = source
    if OmegaConf.is_missing(config, "source"):
        raise ConfigurationError(f"words come from the teacher {name}: give teacher_source=FILE")
    return instantiate(config)
