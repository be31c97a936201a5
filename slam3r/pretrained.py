"""SLAM3R models by name; see `common.model_library`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from common.device import choose_device, choose_dtype
from common.errors import CheckpointError
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
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.description import ModelConfidence, Slam3rDescription, WeightPaths
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.settings import ReconstructionSettings, settings_for_model


class NetworkPair(NamedTuple):
    """The two networks of a model."""

    image_to_points: ImageToPoints
    local_to_world: LocalToWorld


LoadedSlam3r = LoadedModel[Slam3rDescription, NetworkPair]
ReadySlam3r = ReadyModel[Slam3rDescription, Networks, ReconstructionSettings]
ModelChoice = str | Path | Sequence | Mapping | Slam3rDescription | LoadedModel
"""Choice of a model: a name, a folder with ``image_to_points`` and ``local_to_world``, a YAML file like those of
``configs/model``, a pair of weights (each a hub id, a folder or a file), a pair of networks, or one loaded before."""


def find_model(choice: ModelChoice) -> Slam3rDescription | LoadedSlam3r:
    """Find what a choice stands for; reads no weights.

    Raises:
        ConfigurationError: no such model, or a faulty description.
    """
    if isinstance(choice, (Slam3rDescription, LoadedModel)):
        return choice
    if isinstance(choice, (str, Path, Mapping)):
        found = find_description(choice, Slam3rDescription)
        if found is not None:
            return found
    if isinstance(choice, (str, Path)) and (folder := user_path(choice)).is_dir():
        weights = WeightPaths(str(folder / "image_to_points"), str(folder / "local_to_world"))
        return Slam3rDescription(name=folder.name, weights=weights)
    if isinstance(choice, Sequence) and not isinstance(choice, str) and len(choice) == 2:
        first, second = list(choice)
        if isinstance(first, ImageToPoints) and isinstance(second, LocalToWorld):
            return given_model(first, second)
        if isinstance(first, (str, Path)) and isinstance(second, (str, Path)):
            return Slam3rDescription(name="given weights", weights=WeightPaths(str(first), str(second)))
    raise unknown_model(choice, Slam3rDescription, "a folder or a pair of weights")


def load_model(choice: ModelChoice) -> LoadedSlam3r:
    """Load both networks.

    Raises:
        ConfigurationError: no such model, or a faulty description.
        CheckpointError: weights are missing (the message says how to get them), damaged, or of another model.
    """
    found = find_model(choice)
    if isinstance(found, LoadedModel):
        return found
    paths = asdict(found.weights)
    pair = NetworkPair(
        load_network(ImageToPoints, paths["image_to_points"], found),
        load_network(LocalToWorld, paths["local_to_world"], found),
    )
    sources = {name: describe_weights(paths[name], network) for name, network in pair._asdict().items()}
    return LoadedModel(found, pair, {**describe_origin(found), **sources})


def given_model(
    image_to_points: ImageToPoints, local_to_world: LocalToWorld, confidence: ModelConfidence | None = None
) -> LoadedSlam3r:
    """Describe two networks that are in memory already.

    Args:
        image_to_points: I2P, on the CPU.
        local_to_world: L2W, on the CPU.
        confidence: their thresholds; None takes those of the published weights.
    """
    weights = WeightPaths("in memory", "in memory")
    name = "given networks"
    description = Slam3rDescription(name=name, weights=weights, confidence=confidence or ModelConfidence())
    return LoadedModel(description, NetworkPair(image_to_points, local_to_world), {"name": name})


def ready_model(
    choice: ModelChoice | Networks,
    settings: ReconstructionSettings | Mapping[str, Any] | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> ReadySlam3r:
    """Load a model and put it on a device, with its own settings and the user's changes.

    Args:
        choice: the model, see `ModelChoice`. `Networks` stay on their device and in their dtype.
        settings: changes to the model's settings by name, or settings to take as they are.
        device: auto, cuda, mps or cpu.
        dtype: auto, float32 or bfloat16.

    Raises:
        ConfigurationError: no such model or device, or a setting that does not fit; found before weights are read.
        CheckpointError: weights are missing, damaged or of another model.
    """
    if isinstance(choice, Networks):
        given = given_model(choice.image_to_points, choice.local_to_world)
        provenance = {**given.provenance, "device": str(choice.device)}
        return ReadyModel(given.description, choice, _chosen(given.description, settings), choice.device, provenance)
    hardware = choose_device(device)
    precision = choose_dtype(hardware, dtype)
    found = find_model(choice)
    description = found.description if isinstance(found, LoadedModel) else found
    chosen = _chosen(description, settings)
    loaded = load_model(found)
    provenance = {**loaded.provenance, "device": str(hardware), "dtype": str(precision).removeprefix("torch.")}
    networks = place_networks(loaded, hardware, precision, chosen.memory_chunk)
    return ReadyModel(description, networks, chosen, hardware, provenance)


def place_networks(
    loaded: LoadedSlam3r, device: torch.device, dtype: torch.dtype, memory_chunk: int | None = None
) -> Networks:
    """Move both networks to a device and a dtype, in place.

    Raises:
        CheckpointError: the two networks are incompatible.
    """
    try:
        return Networks(*loaded.network, device, dtype, memory_chunk)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _chosen(
    description: Slam3rDescription, settings: ReconstructionSettings | Mapping[str, Any] | None
) -> ReconstructionSettings:
    if isinstance(settings, ReconstructionSettings):
        return settings
    return settings_for_model(description.confidence, description.reconstruction, settings)
