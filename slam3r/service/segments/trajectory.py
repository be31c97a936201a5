"""The poses of a world while it lasts."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray


class TrajectoryRecorder:
    """Timestamps and poses of a world: 136 bytes a frame, 15 MB in an hour at 30 frames per second."""

    def __init__(self) -> None:
        self._times, self._poses = array("q"), array("d")

    def add(self, timestamp_ns: int, camera_to_world: NDArray) -> None:
        """Take the (4, 4) pose of a frame."""
        self._times.append(timestamp_ns)
        self._poses.extend(np.asarray(camera_to_world, np.float64).reshape(-1).tolist())

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(N,) timestamps."""
        return np.array(self._times, np.int64) / 1e9

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) camera-to-world."""
        return np.array(self._poses, np.float64).reshape(-1, 4, 4)
