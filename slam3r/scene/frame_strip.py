"""A picture of a few frames: image, predicted depth and confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from common.drawing.colors import color_confidence, color_depth
from common.drawing.panel import draw_columns
from slam3r.reconstruction.frames import RegisteredFrame


@dataclass(frozen=True)
class StripFrame:
    """One column of the picture."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, network pixels."""
    depth: NDArray[np.float32]
    """(H, W) along the optical axis, in the unit of the world or an arbitrary one; 0 where unknown."""
    confidence: NDArray[np.float32]
    """(H, W) of the registration."""


class StripRecorder:
    """A sink that keeps a few frames spread evenly over a sequence of unknown length."""

    def __init__(self, count: int = 6) -> None:
        """
        Args:
            count: frames to show; up to twice as many are held.
        """
        self.count = count
        self._step = 1
        self._taken = 0
        self._held: list[tuple[int, StripFrame]] = []

    def add(self, frame: RegisteredFrame) -> None:
        """Keep every n-th frame with a pointmap; when there are too many, drop every second one and double n."""
        if not frame.has_pointmap:
            return
        number, self._taken = self._taken, self._taken + 1
        if number % self._step:
            return
        image, confidence = frame.colors.numpy(), frame.world_confidence.float().numpy().copy()
        self._held.append((number, StripFrame(frame.name, image, frame_depth(frame), confidence)))
        if len(self._held) > 2 * self.count:
            self._step *= 2
            self._held = [(number, kept) for number, kept in self._held if number % self._step == 0]

    def close(self) -> None:
        """Nothing to do."""

    @property
    def frames(self) -> list[StripFrame]:
        """At most `count`, from the first to the last held."""
        chosen = np.unique(np.linspace(0, len(self._held) - 1, min(self.count, len(self._held))).round().astype(int))
        return [self._held[i][1] for i in chosen]


def frame_depth(frame: RegisteredFrame) -> NDArray[np.float32]:
    """(H, W) depth of a registered frame: seen from its pose, else of its local pointmap, else 0."""
    depth = frame.depth()
    if depth is None and frame.local_points is not None:
        depth = frame.local_points[..., 2].float()
        depth = torch.where(depth.isfinite() & (depth > 0), depth, 0.0)
    return np.zeros(frame.valid.shape, np.float32) if depth is None else depth.numpy()


def draw_strip(frames: Sequence[StripFrame]) -> NDArray[np.uint8]:
    """A column per frame: image, depth (near is warm), confidence (high is bright; one scale for all frames).

    Args:
        frames: at least one, of equal size.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    highest = max(float(np.quantile(frame.confidence, 0.98)) for frame in frames)
    return draw_columns(
        [
            (
                f"{frame.name.rsplit('/', 1)[-1]}  {frame.confidence.mean():.1f}",
                [frame.image, color_depth(frame.depth), color_confidence(frame.confidence, highest)],
            )
            for frame in frames
        ]
    )
