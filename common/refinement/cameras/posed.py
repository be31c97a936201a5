"""Selection of the frames that have a pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def posed(poses: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) bool of poses (N, 4, 4), where a frame without a pose has NaN."""
    return np.asarray(np.isfinite(poses).all(axis=(1, 2)), dtype=np.bool_)
