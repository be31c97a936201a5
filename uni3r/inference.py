"""How a model wants to be used: its image size, the unit of its world, and who understands its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from common.configuration import config_folder, to_dataclass
from common.errors import ConfigurationError
from uni3r.models.scene_unit import SceneUnit
from uni3r.models.uni3r import Uni3R
from uni3r.pretrained import LoadedModel, ModelChoice, load_model
from uni3r.rasterization.background import Background
from uni3r.semantics.teacher import Teacher


@dataclass(frozen=True)
class InferenceSettings:
    """``inference`` in a file of ``configs/model``. The defaults are those of the published weights."""

    size: tuple[int, int] = (256, 256)
    """(height, width) of its images, pixels."""
    sh_degree: int | None = 0
    """Of the colours; None takes all coefficients."""
    background: Background = "black"
    """Behind the Gaussians."""
    teacher: str | None = "lseg"
    """File of ``configs/teacher`` whose text side understands words; None: the Gaussians have no meaning."""
    labels: str = "scannet8"
    """Label set of the segmentation."""
    unit: SceneUnit = field(default_factory=SceneUnit)
    """Of true poses."""


@dataclass
class ReadyModel:
    """A network on the CPU in float32, and how to use it."""

    network: Uni3R
    inference: InferenceSettings
    description: dict[str, Any]
    """For summaries: name, weights, revision, licence."""


def ready_model(choice: ModelChoice | ReadyModel, size: tuple[int, int] | None = None) -> ReadyModel:
    """Load a model, to be used as it wants, or at another (height, width).

    Raises:
        ConfigurationError: no such model, a faulty description, or a size that does not fit the patches.
        CheckpointError: weights are missing (the message says how to get them), damaged, or of another model.
    """
    if not isinstance(choice, ReadyModel):
        loaded: LoadedModel = load_model(choice)
        settings = to_dataclass(loaded.inference, InferenceSettings)
        choice = ReadyModel(loaded.model, settings, loaded.description)
    if size is None:
        return choice
    patch = choice.network.config.patch_size
    if any(side < patch or side % patch for side in size):
        raise ConfigurationError(f"size is made of multiples of {patch} for this model, got {list(size)}")
    return replace(choice, inference=replace(choice.inference, size=(size[0], size[1])))


def load_teacher(inference: InferenceSettings, source: str | None = None) -> Teacher | None:
    """The teacher that a model learnt from; None where it has none.

    Args:
        inference: of the model.
        source: its weights, for a teacher that asks for some (``source: ???``).

    Raises:
        ConfigurationError: no such teacher, or it needs weights.
        CheckpointError: these are missing or damaged.
        ImportError: naming the extra to install.
    """
    if inference.teacher is None:
        return None
    path = config_folder() / "teacher" / f"{inference.teacher}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise ConfigurationError(f"no teacher {inference.teacher!r}: known are {known}")
    config = OmegaConf.load(path)
    assert isinstance(config, Mapping)
    if source is not None:
        config["source"] = source
    if OmegaConf.is_missing(config, "source"):
        raise ConfigurationError(f"words come from the teacher {inference.teacher}: give teacher_source=FILE")
    return instantiate(config)
