"""Focal lengths of several cameras in one input: the reconstructor estimates a single one for all frames."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray

from common.geometry.poses import focal_weiszfeld
from common.refinement.pictures import CameraNumbers
from slam3r.reconstruction.frames import RegisteredFrame

FEWEST = 3
"""Frames of a camera that must have an estimate; with fewer, the camera takes the shared focal length."""


class CameraFocals:
    """A sink that estimates a focal length from each frame's own pointmap, and gives one to every camera.

    Frames of the initial window have no pointmap of their own and take that of their camera.
    """

    def __init__(self, cameras: CameraNumbers, threshold: float) -> None:
        """
        Args:
            cameras: knows how many cameras there are so far; nothing is estimated as long as there is one.
            threshold: points of at least this local confidence count, or the better half where those are few.
        """
        self._cameras, self._threshold = cameras, threshold
        self._focal: dict[int, float] = {}

    def add(self, frame: RegisteredFrame) -> None:
        """Estimate the focal length of a frame, network pixels."""
        if frame.local_points is None or len(self._cameras) < 2:
            return
        height, width = frame.local_confidence.shape
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        confidence = frame.local_confidence.float()
        valid = confidence >= confidence.median().clamp(max=self._threshold)
        focal = float(focal_weiszfeld(frame.local_points.float()[None], centre, valid[None])[0])
        if np.isfinite(focal) and focal > 0:
            self._focal[frame.index] = focal

    def close(self) -> None:
        """Nothing to do."""

    def intrinsics(self, shared: NDArray[np.float64], cameras: dict[int, int]) -> dict[int, NDArray[np.float64]]:
        """Intrinsics of every frame at network size.

        Args:
            shared: (3, 3) estimate for all frames.
            cameras: number of the camera that took each frame, by the frame's index.

        Returns:
            By index, (3, 3): `shared` where there is one camera, else with the median focal length of its camera.
        """
        own: dict[int, list[float]] = defaultdict(list)
        for index, camera in cameras.items():
            if index in self._focal:
                own[camera].append(self._focal[index])
        several = len(set(cameras.values())) > 1
        matrices = {}
        for index, camera in cameras.items():
            matrix = shared.copy()
            if several and len(own[camera]) >= FEWEST:
                matrix[[0, 1], [0, 1]] *= np.median(own[camera]) / shared[0, 0]
            matrices[index] = matrix
        return matrices
