"""Settings of how a scene is built and of what is written. Imports no torch, so that `--help` can read them quickly."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from common.ranges import Count, CountOrZero, FieldOfView, FramesPerSecond, Pixels, Positive, Share
from uni3r.posing.settings import MatchedCameraSettings, RefinementSettings

Degree = Annotated[int, Field(ge=0, le=3)]
"""Degree of spherical harmonics that files of Gaussians hold."""
_MOST_WORDS, _LONGEST_WORD = 200, 200


@dataclass(frozen=True)
class FlightSettings:
    """The path and the film."""

    frames: CountOrZero = 96
    """Frames of the video; 0 for no video."""
    fps: FramesPerSecond = 24.0
    """Frames per second."""
    sway: float = 0.04
    """Radius of the circles that the camera flies about its path, as a share of the scene's median depth."""
    circles: float = 2.0
    """Circles in a whole flight."""
    features: bool = True
    """Also film the features and, with words, the segmentation."""

    def __post_init__(self) -> None:
        if not (self.frames >= 0 and 0 < self.fps <= 1000 and self.sway >= 0 and math.isfinite(self.circles)):
            raise ValueError("frames and sway must not be negative, fps must be positive")


@dataclass(frozen=True)
class ObjectSettings:
    """Grouping of the Gaussians that a word names into objects."""

    min_share: Share = 0.5
    """Probability of the word against the classes that compete with it, above which a Gaussian belongs to it."""
    min_opacity: Share = 0.3
    """Fainter Gaussians belong to nothing."""
    neighbours: Count = 16
    """Nearest Gaussians over which probabilities are averaged."""
    gap: Positive = 0.05
    """Cells of the grid in which neighbouring Gaussians are connected, as a share of the scene's median depth."""
    min_size: Share = 0.005
    """Share of all Gaussians that an object has at least."""
    trim: Share = 0.02
    """Share of an object's Gaussians that may stick out of its box, at each end of each axis."""


@dataclass(frozen=True)
class ExportSettings:
    """Optional output files."""

    queries: tuple[str, ...] = field(default=(), metadata={"set_by": "queries"})
    """Words to search: one heat map per view and word."""
    features: bool = True
    """Write the semantic features into the PLY file."""
    objects: bool = True
    """With queries: also cluster the Gaussians that each word names: ``objects.json``, and a PLY for each object."""
    object_search: ObjectSettings = field(default_factory=ObjectSettings)
    """Settings of these clusters."""
    splat: bool = False
    """Also write ``gaussians.splat``, 32 bytes per Gaussian, for web viewers: constant colours, no features."""
    spz: bool = False
    """Also write ``gaussians.spz``, an eighth of the PLY, for web viewers; `uni3r.gaussians.spz` says what is lost."""
    glb: bool = False
    """Also write ``gaussians.glb``: glTF with the extension KHR_gaussian_splatting, nothing rounded, no features."""
    max_gaussians: Count | None = None
    """Write no more Gaussians than this: those that weigh most in the input views. None writes all."""
    sh_degree: Degree | None = None
    """Write the colours' harmonics up to this degree; 0 leaves the direction out, None writes all there are."""
    flight: FlightSettings = field(default_factory=FlightSettings)
    """The films' camera: along the input cameras and back."""
    film_scale: Count = 2
    """Films are this many times larger than the network's images."""
    progress: bool = field(default=True, metadata={"set_by": "run.progress"})
    """Report it: bars on a terminal, elsewhere a line every half minute."""

    def __post_init__(self) -> None:
        if self.film_scale < 1:
            raise ValueError(f"film_scale must be at least 1, got {self.film_scale}")
        if any(not word.strip() for word in self.queries):
            raise ValueError("a query must not be empty")
        if len(self.queries) > _MOST_WORDS or any(len(word) > _LONGEST_WORD for word in self.queries):
            raise ValueError(f"expected at most {_MOST_WORDS} queries of at most {_LONGEST_WORD} characters")
        same = [word for word, count in Counter(" ".join(word.split()) for word in self.queries).items() if count > 1]
        if same:
            raise ValueError(f"each query once, got several of {', '.join(same)}")


@dataclass(frozen=True)
class RunSettings:
    """Settings of building a scene."""

    device: str = "auto"
    """auto, cuda, mps or cpu."""
    size: tuple[Pixels, Pixels] | None = None
    """(height, width) of the network's images; None takes what the model was trained on."""
    views: Count | None = None
    """Number of views to build from, spread evenly over the input, or all if there are fewer; None: as many as suit the
    model."""
    field_of_view: FieldOfView | None = None
    """Degrees along the longer side of the pictures, where no cameras are given; None estimates it."""
    refine: bool = True
    """Refine the model's own cameras on the pictures: poses by direct alignment (`uni3r.posing.refinement`, only for
    centres on rays), then poses and focal length by matches (`uni3r.posing.matched_cameras`) where these win."""
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    """Direct alignment of poses, coarse to fine."""
    matched: MatchedCameraSettings = field(default_factory=MatchedCameraSettings)
    """Whether and how cameras are matched."""
    progress: bool = True
    """Report it: bars on a terminal, elsewhere a line every half minute."""

    def __post_init__(self) -> None:
        if self.views is not None and self.views < 1:
            raise ValueError(f"views must be at least 1, got {self.views}")
        if self.field_of_view is not None and not 1 < self.field_of_view < 179:
            raise ValueError(f"field_of_view is an angle in degrees, got {self.field_of_view}")
