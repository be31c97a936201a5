"""Settings of refinement and of its camera stages; docs/refinement.md has the figures behind the defaults.

Imports no torch, so that `--help` can read it quickly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.ranges import (
    Angle,
    Count,
    CountOrZero,
    FieldOfViewSpan,
    NotNegative,
    Pixels,
    Positive,
    Seed,
    Share,
    Threads,
)
from common.refinement.dense.settings import DenseSettings


@dataclass(frozen=True)
class MatchingSettings:
    """Local features, the pairs of pictures that are compared, and their verification."""

    max_features: Count = 4096
    """Features of a picture, at most."""
    total_features: Count = 4_000_000
    """Features of all pictures, at most (136 bytes each): very long sequences get fewer a picture."""
    contrast: Positive = 0.013
    """SIFT's threshold of contrast; lower finds more and weaker features."""
    ratio: Share = 0.8
    """Distance to the best partner over that to the second best, at most (Lowe 2004)."""
    all_pairs_up_to: CountOrZero = 30
    """Up to so many pictures, every pair is compared."""
    partners_in_time: CountOrZero = 8
    """Distances 1, 2, 4, 8 ... in time at which a picture is compared, at most so many."""
    partners_alike: CountOrZero = 8
    """Pictures that look most alike, for each picture, beyond those neighbours."""
    max_error: Positive = 4.0
    """Pixels from the epipolar line, at most, for a match to be verified (scaled down for small pictures)."""
    min_matches: Count = 25
    """Verified matches of a pair, at least."""


@dataclass(frozen=True)
class FocalSettings:
    """Search for the focal length."""

    field_of_view: FieldOfViewSpan = (25.0, 120.0)
    """Degrees along the longer side: range of the search."""
    steps: Count = 72
    """Candidates in that range, equally spaced in the logarithm."""
    max_pairs: Count = 600
    """Pairs that vote, at most: those with most matches."""
    min_pairs: Count = 3
    """Pairs that vote, at least; with fewer, the network's focal length is the start."""


@dataclass(frozen=True)
class RotationSettings:
    """Averaging of relative rotations."""

    max_error: Angle = 10.0
    """Degrees between a pair's rotation and that of the averaged frames, at most; worse pairs are dropped."""


@dataclass(frozen=True)
class PlacementSettings:
    """Linear positions from the network's depth."""

    matches_per_pair: Count = 40
    """Matches of a pair that are used, at most."""
    iterations: Count = 8
    """Reweighted solutions."""
    scale_prior: NotNegative = 0.05
    """Weight of "the scale of a frame is one", against a match of relative error one."""


@dataclass(frozen=True)
class AdjustmentSettings:
    """Bundle adjustment."""

    rounds: Count = 3
    """Rounds of triangulation and adjustment."""
    max_error: Positive = 4.0
    """Reprojection error of an observation in the end, working pixels, at most (scaled down for small pictures)."""
    min_angle: Angle = 1.0
    """Angle between two rays of a point, degrees, at least."""
    max_iterations: Count = 60
    """Iterations of the solver in each round."""
    min_observations: Count = 15
    """Points that a frame must share with the others to count as connected."""
    radial: str = "auto"
    """Radial term: auto (kept where it lowers the held-back error), on, or off."""


@dataclass(frozen=True)
class VerdictSettings:
    """When refined cameras are taken."""

    held_back: Share = 0.1
    """Share of tracks that no stage is fitted to."""
    min_frames: Share = 0.5
    """Share of frames in the largest connected part, at least."""
    min_agreeing: Share = 0.75
    """Share of the pictures' area whose matches agree with the cameras, at least."""
    max_focal_change: Positive = 2.5
    """Factor between a camera's refined focal length and the network's, at most."""
    min_gain: NotNegative = 0.9
    """Epipolar error after over that before, at most."""
    max_error: Positive = 2.5
    """Median epipolar error after, pixels of a picture with a long side of 640, at most."""
    good_error: NotNegative = 0.8
    """Error after, in the same pixels, that well-adjusted pictures stay below (seen: 0.2 to 0.5). Where it is larger,
    `gain_if_poor` is asked for: a chain of weak links bends, although each link looks better than before."""
    gain_if_poor: NotNegative = 0.25
    """Epipolar error after over that before, at most, where the error after is not good."""
    max_collapse: Positive = 4.0
    """Factor between a frame's scale and the median one, at most, for the frame to count as connected."""
    min_parallax: Angle = 1.0
    """Median angle between the rays of a point, degrees, at least."""


@dataclass(frozen=True)
class CameraSettings:
    """Everything that `refine_cameras` can be told."""

    long_side: Pixels = 1024
    """Longer side of the working pictures, at most; larger ones are to be scaled down by the caller."""
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    focal: FocalSettings = field(default_factory=FocalSettings)
    rotations: RotationSettings = field(default_factory=RotationSettings)
    placement: PlacementSettings = field(default_factory=PlacementSettings)
    adjustment: AdjustmentSettings = field(default_factory=AdjustmentSettings)
    verdict: VerdictSettings = field(default_factory=VerdictSettings)
    threads: Threads | None = None
    """Processor threads; None: the cores that this process may use. One thread makes a run repeatable to the bit."""
    seed: Seed = 0
    """Seed of every random choice."""


Mode = Literal["auto", "off", "cameras", "dense"]


@dataclass(frozen=True)
class RefinementSettings:
    """Whether and how many views are made consistent after the reconstruction."""

    mode: Mode | None = None
    """off: the network's word stays; cameras: poses, focal length and a smooth correction of every depth map; dense:
    depth is searched in the pictures as well; auto: as dense, but without pycolmap the run goes on unrefined. None: as
    the model asks."""
    check_frames: CountOrZero = 24
    """Frames whose pictures are compared with the result where nothing is refined, at most; 0 for no check."""
    cameras: CameraSettings = field(default_factory=CameraSettings)
    dense: DenseSettings = field(default_factory=DenseSettings)

    def __post_init__(self) -> None:
        if self.check_frames < 0:
            raise ValueError(f"check_frames must not be negative, got {self.check_frames}")
