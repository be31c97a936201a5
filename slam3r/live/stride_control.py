"""Adaptation of the keyframe stride of a live stream to the camera's motion.

The published search finds, on the first frames, the stride whose windows the network is most confident of. Its result
is read as an amount of image motion between keyframes; when the camera moves faster or slower later, the stride
changes so that this amount stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slam3r.live.settings import StrideSettings

FLOW_SIDE = 96
"""Pixels of the longer side of the pictures that motion is measured on."""


class MotionMeter:
    """Median length of the optical flow from the last frame to this one.

    Dense inverse search (Kroeger et al., ECCV 2016) on small pictures: about a millisecond, and it neither needs the
    reconstruction nor fails with it.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._last: NDArray[np.uint8] | None = None  # (h, w) the frame before, small and grey

    def measure(self, image: Tensor) -> float | None:
        """Motion since the frame before, in image widths; None for the first frame.

        Args:
            image: (3, H, W) in [-1, 1].
        """
        gray = image.float().mean(dim=0).add(1).mul(127.5).clamp(0, 255).byte().cpu().numpy()
        factor = FLOW_SIDE / max(gray.shape)
        if factor < 1:
            gray = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        last, self._last = self._last, gray
        if last is None or last.shape != gray.shape:
            return None
        flow = self._flow.calc(last, gray, np.zeros((*gray.shape, 2), np.float32))
        return float(np.median(np.linalg.norm(flow, axis=-1))) / gray.shape[1]

    def state_dict(self) -> dict[str, Any]:
        """The last frame, (h, w) uint8."""
        return {"last": None if self._last is None else torch.from_numpy(self._last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._last = None if state["last"] is None else state["last"].numpy()


@dataclass
class StrideController:
    """Keeps the image motion between keyframes constant."""

    settings: StrideSettings
    bounds: tuple[int, int]
    """Smallest and largest stride."""
    motion: float | None = None
    """Per frame, smoothed, in image widths."""
    target: float | None = None
    """Between keyframes; set by `found`."""
    since_change: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Motion and target; settings and bounds are not in it."""
        return {"motion": self.motion, "target": self.target, "since_change": self.since_change}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.motion, self.target, self.since_change = state["motion"], state["target"], state["since_change"]

    def found(self, stride: int) -> None:
        """Take the stride that the search chose: the present motion times the stride is the motion to keep."""
        smallest, largest = self.settings.target_range
        self.target = min(max((self.motion or 0.0) * stride, smallest), largest)

    def observe(self, motion: float | None) -> None:
        """Take the motion of the next frame."""
        self.since_change += 1
        if motion is None or not np.isfinite(motion):
            return
        weight = 1 / self.settings.smoothing
        self.motion = motion if self.motion is None else (1 - weight) * self.motion + weight * motion

    def propose(self, stride: int) -> int:
        """The stride to use from here on.

        It falls to what is needed at once, since a window without overlap loses the camera; it grows in steps of one.
        """
        smallest, largest = self.bounds
        if not self.settings.adapt or self.target is None or self.motion is None:
            return stride
        if self.since_change < self.settings.interval:
            return stride
        ideal = min(max(self.target / max(self.motion, 1e-6), smallest), largest)
        proposed = stride
        if ideal > stride * (1 + self.settings.tolerance):
            proposed = stride + 1
        elif ideal < stride * (1 - self.settings.tolerance):
            proposed = round(ideal)
        proposed = int(min(max(proposed, smallest), largest))
        if proposed != stride:
            self.since_change = 0
        return proposed
