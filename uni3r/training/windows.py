"""Frames on which Uni3R is trained and tested: evenly spaced context views, target views at the midpoints.

Source: Sun et al., "Uni3R", 2025, and its public code; the test protocol is that of LSM (Fan et al., NeurIPS 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.scenes.scene_folder import RgbdScene

TEST_TARGETS = (1, 4)
"""Frames, out of every eight, that the two-view test renders."""
TEST_CYCLE = 8


@dataclass(frozen=True)
class ContextTargetWindows:
    """Training windows: `context_views` frames over a gap, then the frames halfway between neighbours of them.

    A window is a pair of frames (i, i + gap), ordered by i and then by gap. The published gaps are 2 and 4 frames from
    one context view to the next: 2 and 4 for 2 views, 6 and 12 for 4, 14 and 28 for 8, 30 and 60 for 16. With several
    numbers of views, the windows of all of them are one list, as in the arbitrary-view release: batches hold one window
    then, since windows differ in length.
    """

    context_views: int | tuple[int, ...] = 2
    """Number of context views, or several to train on together (published: 2, 4 and 8)."""
    steps: tuple[int, ...] = (2, 4)
    """Frames from one context view to the next; even, so that there is a midpoint."""
    min_frames: int = 33
    """Scenes with fewer frames are left out (published: ScanNet 33, ScanNet++ 129)."""
    max_frames: int | None = None
    """Longer scenes are subsampled by an integer stride (published: ScanNet++ 200)."""

    def __post_init__(self) -> None:
        counts = self._view_counts
        if not counts or min(counts) < 2 or not self.steps or any(step < 2 or step % 2 for step in self.steps):
            raise ValueError(f"needs at least 2 context views and even steps, got {self.context_views}, {self.steps}")

    def count(self, scene: RgbdScene) -> int:
        """Number of pairs."""
        return sum(self._starts(scene.num_frames))

    def frames(self, scene: RgbdScene, index: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """(2 * context - 1,) positions, context first; nothing is drawn."""
        starts = self._starts(scene.num_frames)
        if not 0 <= index < sum(starts):
            raise IndexError(f"no window {index} among {sum(starts)}")
        start, which = self._pair(index, starts)
        views, step = self._spans[which]
        return context_and_targets(start, step, views) * self._thinning(scene.num_frames)

    @property
    def _view_counts(self) -> tuple[int, ...]:
        return (self.context_views,) if isinstance(self.context_views, int) else tuple(self.context_views)

    @property
    def _spans(self) -> list[tuple[int, int]]:
        """(context views, step) of every kind of window, from the shortest gap to the longest."""
        kinds = [(views, step) for views in self._view_counts for step in self.steps]
        return sorted(kinds, key=lambda kind: (kind[0] - 1) * kind[1])

    def _pair(self, index: int, starts: list[int]) -> tuple[int, int]:
        """Start and kind of pair `index`: the kinds that fit at a start come one after the other."""
        start = 0
        for end in sorted(set(starts)):  # from `start` on, the same kinds fit at every start before `end`
            fitting = [which for which, count in enumerate(starts) if count >= end]
            block = (end - start) * len(fitting)
            if index < block:
                return start + index // len(fitting), fitting[index % len(fitting)]
            index, start = index - block, end
        raise AssertionError("the index has been checked")

    def _starts(self, num_frames: int) -> list[int]:
        """Number of frames at which a window can start, for each kind."""
        if num_frames < self.min_frames:
            return [0 for _ in self._spans]
        kept = -(-num_frames // self._thinning(num_frames))
        return [max(0, kept - step * (views - 1)) for views, step in self._spans]

    def _thinning(self, num_frames: int) -> int:
        if self.max_frames is None or num_frames <= self.max_frames:
            return 1
        return num_frames // self.max_frames


@dataclass(frozen=True)
class TestWindows:
    """Test windows: for 2 context views, two of every eight frames between their neighbours; else one per scene."""

    __test__ = False  # not a test case, despite its name

    context_views: int = 2

    def count(self, scene: RgbdScene) -> int:
        """Number of windows."""
        if self.context_views > 2:
            return int(scene.num_frames >= 2 * self.context_views - 1)
        return len(_test_targets(scene.num_frames)) if scene.num_frames > 2 else 0

    def frames(self, scene: RgbdScene, index: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """(2 * context - 1,) positions, context first; nothing is drawn."""
        if self.context_views > 2:
            return context_and_targets(0, 2, self.context_views)
        target = _test_targets(scene.num_frames)[index]
        return np.array([max(target - 1, 0), min(target + 1, scene.num_frames - 1), target])


def context_and_targets(start: int, step: int, context_views: int) -> NDArray[np.int64]:
    """(2 * context_views - 1,) positions: every `step`-th frame from `start` on, then the frames halfway between."""
    context = start + step * np.arange(context_views)
    return np.concatenate([context, context[:-1] + step // 2])


def _test_targets(num_frames: int) -> list[int]:
    return [frame for frame in range(num_frames) if frame % TEST_CYCLE in TEST_TARGETS]
