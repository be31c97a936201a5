"""Corners of keyframes that frames between them show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slam3r.reconstruction.placement.tracks import TrackedPicture, match_corners


@dataclass(frozen=True)
class Sighting:
    """Corners of a keyframe found again in another frame."""

    keyframe: int
    """Index of the keyframe."""
    there: NDArray[np.float32]
    """(N, 2) pixels (x, y) of the keyframe, whole numbers."""
    here: NDArray[np.float32]
    """(N, 2) pixels (x, y) of the other frame."""

    @staticmethod
    def of(keyframe: int, there: TrackedPicture, here: TrackedPicture) -> Sighting:
        """Track the corners of a keyframe's picture into another frame's."""
        return Sighting(keyframe, *match_corners(there, here))

    @property
    def motion(self) -> float:
        """Median distance that the corners moved, pixels; infinite without a corner."""
        moved = np.linalg.norm(self.here - self.there, axis=1)
        return float(np.median(moved)) if len(moved) else float("inf")
