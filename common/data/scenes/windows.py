"""Window rules: which windows a scene has. Objects that a configuration chooses, built on the functions of `sampling`.

A rule knows nothing about files or pixels. `count` must be cheap or need only the frame numbers, because it is called
for every scene of a data set when training starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from common.data.scenes.sampling import consecutive_windows, orbit_window, orbit_window_count, random_window
from common.data.scenes.scene_folder import DataError, RgbdScene

Order = Literal["forward", "either", "shuffled"]
ORDERS = ("forward", "either", "shuffled")


class WindowRule(Protocol):
    """Number of windows of a scene, and the frames of each."""

    def count(self, scene: RgbdScene) -> int:
        """Number of windows of a scene; 0 where it is too short."""
        ...

    def frames(self, scene: RgbdScene, index: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """(V,) positions in the scene of the frames of window `index`.

        The same number of frames for all windows; a rule may mix numbers where every batch holds one window.
        """
        ...


@dataclass(frozen=True)
class ConsecutiveWindows:
    """A window from every start, of every `stride`-th frame, without gaps (ScanNet++, Aria Synthetic, ScanNet)."""

    num_views: int
    stride: int = 1
    number_step: int | None = None
    """By how much numbers advance from frame to frame; None reads the scene's attribute ``number_step``, else 1."""

    def count(self, scene: RgbdScene) -> int:
        return len(self._starts(scene))

    def frames(self, scene: RgbdScene, index: int, generator: np.random.Generator) -> NDArray[np.int64]:
        return self._starts(scene)[index] + np.arange(self.num_views) * self.stride

    def _starts(self, scene: RgbdScene) -> NDArray[np.int64]:
        step = self.number_step or int(scene.attributes.get("number_step", 1))
        return consecutive_windows(scene.numbers, self.num_views, self.stride, step)[:, 0]


@dataclass(frozen=True)
class OrbitWindows:
    """Arcs of a camera path around an object, evenly spaced or with random frames between the ends (CO3D)."""

    num_views: int
    span: int = 50
    """Frames of the arc: 50 of about 100 are 180 degrees."""
    windows_per_start: int = 3
    """One evenly spaced, the others random."""

    def count(self, scene: RgbdScene) -> int:
        # an arc in a shorter orbit would overlap its own beginning
        return orbit_window_count(scene.num_frames, self.windows_per_start) if scene.num_frames > self.span else 0

    def frames(self, scene: RgbdScene, index: int, generator: np.random.Generator) -> NDArray[np.int64]:
        return orbit_window(index, self.num_views, generator, scene.num_frames, self.span, self.windows_per_start)


@dataclass(frozen=True)
class RandomWindows:
    """One window per scene and draw, at a random place and with a random stride."""

    num_views: int
    stride: tuple[int, int] = (1, 2)
    """Range [min, max] of frames from one view to the next; the largest that fits where a scene is short."""
    order: Order = "either"
    """``forward``, ``either`` (half of the windows run backwards) or ``shuffled``."""

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ValueError(f"order must be {', '.join(ORDERS[:-1])} or {ORDERS[-1]}, not {self.order!r}")
        if self.num_views < 1 or not 1 <= self.stride[0] <= self.stride[1]:
            raise ValueError(
                f"no windows of {self.num_views} views with strides of {self.stride[0]} to {self.stride[1]}"
            )

    def count(self, scene: RgbdScene) -> int:
        return 1  # without opening the scene; `frames` raises if it is too short

    def frames(self, scene: RgbdScene, index: int, generator: np.random.Generator) -> NDArray[np.int64]:
        count = len(scene.numbers)
        if count < self.num_views:
            raise DataError(f"{scene.folder} has {count} frames, fewer than the {self.num_views} of a window")
        window = random_window(count, self.num_views, self.stride, generator)
        if self.order == "shuffled":
            return window[generator.permutation(len(window))]
        return window[::-1] if self.order == "either" and generator.random() < 0.5 else window
