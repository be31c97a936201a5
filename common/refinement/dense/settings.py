"""Settings of the dense stages. Sizes in pixels hold for a grid whose shorter side is 224 and scale with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from common.ranges import Angle, AngleSpan, Count, CountOrZero, NotNegative, Pixels, Positive, Share

REFERENCE_SIDE = 224
"""Shorter side, in pixels, of the grids that sizes in the settings refer to."""


@dataclass(frozen=True)
class DepthGridSettings:
    """Correction of the predicted depth by triangulated points: a smooth factor per frame."""

    nodes: Count = 7
    """Nodes along the shorter side of the bilinear grid of log depth ratios; the longer side has as dense ones."""
    smoothness: NotNegative = 0.7
    """Weight of differences between neighbouring nodes; a track has weight 1."""
    damping: NotNegative = 0.1
    """Weight of a node's difference from the frame's median ratio."""
    limit: NotNegative = 1.0
    """Largest correction beyond the median ratio, in log depth."""
    min_tracks: CountOrZero = 8
    """A frame with fewer tracks takes the median ratio of all frames."""
    blur: NotNegative = 8.0
    """Sigma of the Gaussian on log depth, in pixels: hides the steps at patch borders, which a search around them would
    otherwise keep."""


@dataclass(frozen=True)
class NeighbourSettings:
    """Choice of the views that a frame is compared with."""

    count: Count = 10
    """Neighbours per frame, at most."""
    candidates: Count = 48
    """Frames considered for it, at most; bounds the cost for long sequences."""
    min_overlap: Share = 0.35
    """Share of the frame's points that a neighbour must see."""
    parallax: AngleSpan = (2.0, 20.0)
    """Bounds of the median angle between the rays of both views, in degrees."""
    best_parallax: Angle = 8.0
    """The angle that scores best, in degrees: less is inaccurate, more looks different."""


@dataclass(frozen=True)
class SweepLevel:
    """One pass over depths around the present one."""

    scale: Positive
    """Size of the level's grid relative to the network's."""
    half_range: Positive
    """Search within this distance in log depth."""
    steps: Count
    """Number of depths, spaced evenly in log depth."""
    window: Pixels
    """Side of the correlation window, in pixels of the level; odd."""
    prior: NotNegative
    """Cost per unit of log depth away from the present depth."""
    median: Pixels
    """Side of the median filter on the result, odd; 1 for none."""


@dataclass(frozen=True)
class AggregationSettings:
    """Semi-global aggregation (Hirschmüller 2008)."""

    small_step: NotNegative = 0.2
    """P1: penalty of one depth step between neighbouring pixels."""
    large_step: NotNegative = 1.2
    """P2: penalty of larger steps where the picture is flat."""
    edge_falloff: NotNegative = 25.0
    """P2 falls with exp(-|difference of grey values in [0, 1]| * this), down to 1.5 P1."""


@dataclass(frozen=True)
class SweepSettings:
    """Photometric search of depths along the pixels' rays."""

    levels: tuple[SweepLevel, ...] = (
        SweepLevel(scale=0.5, half_range=0.6, steps=48, window=5, prior=0.1, median=5),
        SweepLevel(scale=1.0, half_range=0.08, steps=13, window=5, prior=0.01, median=3),
    )
    aggregation: AggregationSettings = field(default_factory=AggregationSettings)
    best_share: Share = 0.5
    """The cost is the mean over this share of the neighbours, the best ones: others may be occluded."""
    noise: NotNegative = 1 / 255
    """Standard deviation of grey values in [0, 1] below which a window counts as flat."""
    chunk_elements: Count | None = None
    """Values of the matching volume in work at once; None: for CPU caches, or for filling a GPU."""


@dataclass(frozen=True)
class GivenDepthSettings:
    """Weight of measured depths in the sweep."""

    cost: NotNegative = 0.6
    """Cost of a depth that departs from the measured one by `deviation` or more; a cost of matching lies in [0, 2]."""
    deviation: Positive = 0.05
    """Departure in log depth from which on the cost grows no further: a wrong measurement can be overruled."""


@dataclass(frozen=True)
class ConsistencySettings:
    """Agreement of a frame's depth with its neighbours' own depths."""

    tolerance: NotNegative = 0.03
    """Relative difference of depths that still agree."""
    min_views: CountOrZero = 2
    """Views that must agree with a confirmed pixel."""
    min_share: Share = 0.5
    """Share of the views that could see it which must agree."""
    min_parallax: Angle = 4.0
    """Angle, in degrees, under which one of the agreeing views must see the point. At 224 pixels, 2 degrees leave depth
    open within the tolerance: agreement then says only that all views began at the same prediction. A camera that
    hardly moved is asked for half of the angle that it usually reaches."""
    min_correlation: float = 0.4
    """Correlation with the neighbours' pictures, at least: agreement on a blank wall is no evidence."""
    departure: NotNegative = 0.1
    """Departure from the predicted depth, in log depth, that asks for one more view."""
    count: Count = 10
    """Neighbours asked per frame, at most."""
    min_overlap: Share = 0.2
    """Share of the frame's points that a neighbour must see."""
    parallax: AngleSpan = (1.0, 30.0)
    """Bounds of the median angle between the rays of both views, in degrees."""
    jump: NotNegative = 0.1
    """Difference of log depth within 3 x 3 pixels that counts as a jump."""
    jump_margin: NotNegative = 2.0
    """Pixels beside a jump are not confirmed up to this distance, in pixels."""


@dataclass(frozen=True)
class JoiningSettings:
    """Completion of unconfirmed pixels by smoothing the correction that confirmed ones found."""

    radii: tuple[Positive, ...] = (4.0, 10.0, 24.0, 60.0)
    """Radii of the guided filters, fine to coarse, in pixels."""
    edge: Positive = 1e-3
    """Variance of grey values in [0, 1] from which on the filter follows the picture's edges."""
    prior: NotNegative = 5e-4
    """Weight of no correction, against which the filtered weights stand."""
    limit: NotNegative = 0.8
    """Largest filled correction, in log depth."""


@dataclass(frozen=True)
class DenseSettings:
    """Dense refinement: depth grid, sweep, consistency, joining."""

    grid: DepthGridSettings = field(default_factory=DepthGridSettings)
    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)
    given: GivenDepthSettings = field(default_factory=GivenDepthSettings)
    consistency: ConsistencySettings = field(default_factory=ConsistencySettings)
    joining: JoiningSettings = field(default_factory=JoiningSettings)

    def consistency_neighbours(self) -> NeighbourSettings:
        """Choice of the views that are asked in the consistency check: looser bounds than for matching."""
        own = self.consistency
        return replace(self.neighbours, count=own.count, min_overlap=own.min_overlap, parallax=own.parallax)
