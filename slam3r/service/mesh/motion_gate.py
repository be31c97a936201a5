"""Selection of the frames that are fused: those between which the camera has moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class MotionGate:
    """Lets a frame through when the camera has moved enough since the last one, or after so many that were held."""

    def __init__(self, translation: float, rotation_degrees: float, max_skipped: int) -> None:
        self._translation, self._cosine = translation, np.cos(np.radians(rotation_degrees))
        self._max_skipped, self._skipped = max_skipped, 0
        self._last: NDArray | None = None

    def __call__(self, camera_to_world: NDArray) -> bool:
        """Whether the frame with this (4, 4) pose goes through."""
        if self._last is not None and self._skipped < self._max_skipped:
            moved = np.linalg.norm(camera_to_world[:3, 3] - self._last[:3, 3])
            turn = (np.trace(self._last[:3, :3].T @ camera_to_world[:3, :3]) - 1) / 2
            if moved < self._translation and turn > self._cosine:
                self._skipped += 1
                return False
        self._last, self._skipped = camera_to_world.copy(), 0
        return True
