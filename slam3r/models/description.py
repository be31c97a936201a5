"""Description of a SLAM3R model: a file of ``configs/model``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from common.model_library import ModelDescription


@dataclass(frozen=True)
class WeightPaths:
    """Hub id, folder or file of each network; relative paths are looked for here, then in the checkout."""

    image_to_points: str
    """Weights of the Image-to-Points network."""
    local_to_world: str
    """Weights of the Local-to-World network."""


@dataclass(frozen=True)
class ModelConfidence:
    """Confidence thresholds of a model. The defaults are those of the published weights."""

    local: float = 1.5
    """I2P: a point strictly above it is used."""
    registered: float = 12.0
    """L2W: a point strictly above it is exported."""
    initial: float = 5.0
    """Mean over an initial window below which a shorter one is tried."""
    weak: float = 10.0
    """Mean over a registered frame below which it is reported as weak."""


@dataclass(frozen=True, kw_only=True)
class Slam3rDescription(ModelDescription):
    """A file of ``configs/model`` that describes a SLAM3R; ``sizes`` are fields of
    `slam3r.models.config.BackboneConfig`."""

    system: ClassVar[str] = "SLAM3R"

    weights: WeightPaths
    confidence: ModelConfidence = field(default_factory=ModelConfidence)
    reconstruction: dict[str, Any] = field(default_factory=dict)
    """Settings that suit the model: fields of `slam3r.reconstruction.settings.ReconstructionSettings` that differ from
    the defaults. The user's own settings win."""
    refinement: Literal["auto", "off", "cameras", "dense"] = "off"
    """Refinement mode after a reconstruction (`common.refinement`), unless the user chooses another. Off reproduces
    published numbers."""
