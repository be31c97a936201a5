"""Measurements of frames before refinement: poses and depths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

LEAST_POSES = 2
"""Poses that fix a world and its unit."""


def enough_poses(camera_to_world: NDArray[np.float64]) -> bool:
    """Whether poses (N, 4, 4), NaN where a frame has none, fix a world: they are of different places."""
    centres = camera_to_world[np.isfinite(camera_to_world).all(axis=(1, 2)), :3, 3]
    return len(centres) >= LEAST_POSES and bool((centres != centres[0]).any())


@dataclass(frozen=True)
class Given:
    """Measurements of N frames that refinement keeps to."""

    camera_to_world: Tensor | None = None
    """(N, 4, 4) float64 poses, NaN where a frame has none; their world and unit become those of the result. None
    without poses."""
    sigma: float | None = None
    """Standard deviation of the poses' positions, in their unit; None: the poses are exact."""
    depth: Tensor | None = None
    """(N, H, W) float32 depths along the optical axis on the network's grid, 0 where unknown, in one unit for all
    frames; without poses that unit becomes the world's. None without depths."""

    def __post_init__(self) -> None:
        if self.sigma is not None and not self.sigma > 0:
            raise ValueError(f"given.sigma must be positive, got {self.sigma}")
        poses = self.camera_to_world
        if poses is None:
            return
        if not enough_poses(poses.numpy()):
            raise ValueError(f"given poses: expected {LEAST_POSES} at different places, at least")

    def check(self, count: int, size: tuple[int, int]) -> None:
        """Raise a ValueError where poses or depths are not those of `count` frames on a grid of `size`."""
        for name, tensor, shape in (
            ("camera_to_world", self.camera_to_world, (count, 4, 4)),
            ("depth", self.depth, (count, *size)),
        ):
            if tensor is not None and tuple(tensor.shape) != shape:
                raise ValueError(f"given.{name}: expected {shape}, got {tuple(tensor.shape)}")
