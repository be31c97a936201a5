"""Settings of pose refinement. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.ranges import Count, Share
from common.refinement.dense.settings import DenseSettings
from common.refinement.settings import CameraSettings

LEAST_COVERAGE = 0.3
"""Share of a picture that must be covered for its colour error to say something."""


@dataclass(frozen=True)
class DirectSettings:
    """Settings of the direct alignment: Levenberg-Marquardt with robust weights."""

    iterations: Count = 20
    """Largest number of iterations."""
    tolerance: float = 1e-3
    """Stops when an iteration lowers the error by less than this share."""
    outlier: float = 0.05
    """Colour difference, of 1, from which the error grows linearly (Huber), since content that only one view sees is an
    outlier. Losses that grow even more slowly fail more often from a bad start."""

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.outlier <= 0 or self.tolerance < 0:
            raise ValueError("expected at least 1 iteration, an outlier above 0 and a tolerance of at least 0")


@dataclass(frozen=True)
class RefinementSettings:
    """Settings of the coarse-to-fine refinement."""

    shrink: tuple[Count, ...] = (8, 4, 2, 1)
    """Factors by which images are reduced, in this order."""
    renderings: Count = 4
    """Largest number of renderings per size and start; stops earlier without progress."""
    min_coverage: Share = LEAST_COVERAGE
    """Views of which the earlier ones cover a smaller share keep their pose."""
    direct: DirectSettings = field(default_factory=DirectSettings)
    """Settings of the alignment between two renderings."""

    def __post_init__(self) -> None:
        if self.renderings < 1 or not self.shrink or any(factor < 1 for factor in self.shrink):
            raise ValueError("renderings and the factors of shrink must be at least 1")


@dataclass(frozen=True)
class MatchedCameraSettings:
    """Cameras from features matched in the pictures, and depth from their comparison
    (`uni3r.posing.matched_cameras`)."""

    mode: Literal["auto", "cameras", "off"] = "auto"
    """auto: cameras are taken where they fit the pictures better than other poses do, and pycolmap is installed, and
    depths that are searched in the pictures where more views confirm these; cameras: no search."""
    cameras: CameraSettings = field(default_factory=CameraSettings)
    """Matching of features and adjustment of cameras. There is no radial term: the renderer has none."""
    dense: DenseSettings = field(default_factory=DenseSettings)
    """Search for depth."""
