"""Unit of length of a scene, and the knowledge that it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UnitSource = Literal["none", "cameras", "depths", "distance", "marker"]

_WORDS = {
    "cameras": "the unit is that of the given cameras",
    "depths": "in metres, by the given depths",
    "distance": "in the unit of the given distance",
    "marker": "in the unit of the given marker",
}


@dataclass(frozen=True)
class Unit:
    """Unit of length of a scene."""

    source: UnitSource = "none"
    """Knowledge that it comes from; none: lengths are up to scale."""
    factor: float = 1.0
    """Lengths in this unit over those of the network, whose unit is arbitrary."""
    spread: float | None = None
    """Median relative difference between the measurements behind it; None for a single one."""
    note: str = ""
    """Basis of the measurement, or why the unit is unknown although something was given."""

    def sentence(self) -> str:
        """One line for the user."""
        if self.source == "none":
            return "lengths are up to scale" + (f": {self.note}" if self.note else "")
        spread = "" if self.spread is None else f", spread {self.spread:.1%}"
        return f"{_WORDS[self.source]} (factor {self.factor:.4g}{spread})" + (f"; {self.note}" if self.note else "")
