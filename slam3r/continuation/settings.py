"""Settings of localize, extend and merge. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.ranges import Count, Positive, Share
from common.refinement.settings import MatchingSettings

OldPoses = Literal["fixed", "prior"]
"""Treatment of the poses of a run that is extended: kept, or adjusted within a standard deviation."""


@dataclass(frozen=True)
class PlacingSettings:
    """Placement of a picture in a run, and the thresholds below which it is refused."""

    pictures: Count = 400
    """Pictures of a run that are looked at, at most, at even distances: a fifth of a second of processor time each."""
    candidates: Count = 12
    """Pictures of the run that a new one is compared with in full, at most: those that share most large features."""
    max_error: Positive = 6.0
    """Reprojection error of a point, pixels of a picture with a long side of 640, at most."""
    min_inliers: Count = 20
    """Points that must agree on a pose."""
    min_ratio: Share = 0.15
    """Share of the matched points that must agree."""
    min_cells: Count = 4
    """Cells of a grid of eight along the longer side in which at least two of these points must lie."""
    matching: MatchingSettings = field(default_factory=lambda: MatchingSettings(min_matches=15))
    """Features and matches."""


@dataclass(frozen=True)
class MergingSettings:
    """Search for the similarity between two runs, and the thresholds below which it is refused."""

    pictures: Count = 300
    """Pictures of each run that are looked at, at most, at even distances."""
    pairs: Count = 120
    """Pairs of pictures that are compared in full, at most."""
    tolerance: Positive = 0.05
    """Distance between the two places of a point over its distance from the camera, at most."""
    min_inliers: Count = 40
    """Points that must agree on the similarity."""
    min_ratio: Share = 0.25
    """Share of the matched points that must agree."""
    min_pictures: Count = 2
    """Pictures of each run that must have such points."""
    adjust: bool = True
    """Adjust the cameras of both runs together, where both are refined and their matches agree better afterwards."""
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    """Features and matches."""
