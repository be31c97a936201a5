"""Description of a Uni3R model: a file of ``configs/model``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.model_library import ModelDescription
from common.ranges import Count, CountOrZero, Pixels, Positive

UnitRule = Literal["two_view", "metric", "first_last", "points"]
Background = Literal["black", "context_mean"]
"""Background behind the Gaussians. ``black``: renderings as accumulated (published). ``context_mean``: the mean colour
of the context images, so that unseen regions have a plausible colour instead of black."""


@dataclass(frozen=True)
class SceneUnit:
    """Length that equals one in the world of a network; true poses are divided by it."""

    rule: UnitRule = "two_view"
    """``two_view``: distance of the first two context cameras (published with 2 views); ``first_last``: of the first
    and the last; ``metric``: one metre (published with 8 and 16 views); ``points``: from the true depth of the
    context, see below."""
    points_distance: Positive = 1.0
    """With ``points``: mean distance of the context's points from camera 0 in the world of the network. DUSt3R and
    SLAM3R are trained independently of it; a network initialized with their weights keeps their unit."""


@dataclass(frozen=True)
class InferenceSettings:
    """Inference settings of a model. The defaults are those of the published weights."""

    size: tuple[Pixels, Pixels] = (256, 256)
    """(height, width) of its images, pixels."""
    views: Count = 4
    """Number of views that a scene is built from, unless the user says otherwise."""
    sh_degree: CountOrZero | None = 0
    """Degree of the colours that is evaluated; None takes all coefficients."""
    background: Background = "black"
    """Background behind the Gaussians."""
    teacher: str | None = "lseg"
    """File of ``configs/teacher`` whose text encoder gives the classes and queries; None: no semantics."""
    labels: str = "scannet8"
    """Label set of the segmentation."""
    unit: SceneUnit = field(default_factory=SceneUnit)
    """Unit of true poses."""


@dataclass(frozen=True, kw_only=True)
class Uni3rDescription(ModelDescription):
    """A file of ``configs/model`` that describes a Uni3R; ``sizes`` are fields of `uni3r.models.config.Uni3RConfig`."""

    system: ClassVar[str] = "Uni3R"

    weights: str
    """Hub id, folder or file; a relative path is looked for here, then in the checkout."""
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    start: str | None = None
    """Weights that training starts from."""
