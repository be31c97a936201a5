"""Settings of pose refinement."""

from __future__ import annotations

from dataclasses import dataclass, field

LEAST_COVERAGE = 0.3
"""Share of a picture that must be covered for its colour error to say something."""


@dataclass(frozen=True)
class DirectSettings:
    """Levenberg-Marquardt with robust weights."""

    iterations: int = 20
    """Iterations at most."""
    tolerance: float = 1e-3
    """It ends when an iteration lowers the error by less than this share."""
    outlier: float = 0.05
    """Colour difference, of 1, from where on the error grows linearly (Huber): what only one view sees may differ by
    anything. Losses that grow slower yet lose the way more easily where the start is far off."""

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.outlier <= 0 or self.tolerance < 0:
            raise ValueError("expected at least 1 iteration, an outlier above 0 and a tolerance of at least 0")


@dataclass(frozen=True)
class RefinementSettings:
    """Coarse to fine."""

    shrink: tuple[int, ...] = (8, 4, 2, 1)
    """Factors by which pictures are reduced, one after the other."""
    renderings: int = 4
    """Renderings at most, per size and start; it ends earlier where the last one gained nothing."""
    min_coverage: float = LEAST_COVERAGE
    """A view of which the earlier ones cover less keeps its pose."""
    direct: DirectSettings = field(default_factory=DirectSettings)
    """The alignment between two renderings."""

    def __post_init__(self) -> None:
        if self.renderings < 1 or not self.shrink or any(factor < 1 for factor in self.shrink):
            raise ValueError("renderings and the factors of shrink must be at least 1")
