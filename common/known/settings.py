"""Trust in what the user knows, and the known unit of length. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.ranges import Positive

Poses = Literal["fixed", "prior", "align", "ignore"]


@dataclass(frozen=True)
class ScaleSettings:
    """One known length, which makes results metric."""

    between: tuple[str, str] | None = None
    """Names of two pictures whose positions are `distance` apart."""
    distance: Positive | None = None
    """Distance between them, in the unit wanted (metres)."""
    marker: Positive | None = None
    """Side of the printed ArUco markers in the pictures, black border included, in the unit wanted (metres)."""
    dictionary: str = "DICT_4X4_50"
    """OpenCV's name of the markers' dictionary."""

    def __post_init__(self) -> None:
        if (self.between is None) != (self.distance is None):
            raise ValueError("scale.between (two pictures) and scale.distance go together")
        if self.between is not None and self.marker is not None:
            raise ValueError("give scale.distance or scale.marker, not both")

    @property
    def is_given(self) -> bool:
        """A length is known."""
        return self.distance is not None or self.marker is not None


@dataclass(frozen=True)
class KnownSettings:
    """Trust in known cameras, depths and lengths."""

    poses: Poses = "fixed"
    """Known poses are kept (fixed), adjusted within `sigma` (prior), or used for world and unit alone (align);
    ignore: only their intrinsics are used. Without refinement, all but ignore mean align."""
    sigma: Positive = 0.02
    """Standard deviation of known positions, in their unit, for ``poses=prior``; good for those of tracking, within a
    few percent of the distances to what is seen."""
    depth_unit: Positive | None = None
    """Unit of whole-numbered depth files, in metres; None: millimetres. Files of floats are in metres."""
