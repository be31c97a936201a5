"""The buffering set: the frames that may serve as references of later registrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slam3r.reconstruction.events import Buffered
from slam3r.reconstruction.settings import ReconstructionSettings


class BufferingSet:
    """An ordered set of frames, updated once per stride by reservoir sampling or first-in-first-out."""

    def __init__(
        self,
        frames: Sequence[int],
        stride: int,
        milestone: int,
        settings: ReconstructionSettings,
        random: np.random.RandomState,
    ) -> None:
        """
        Args:
            frames: the initial window.
            stride: keyframe stride.
            milestone: first frame that has not been offered yet.
            settings: size, strategy and interval.
            random: draws the reservoir's decisions.
        """
        self.frames = list(frames)
        self.stride = stride
        self.milestone = milestone
        self._settings = settings
        self._random = random
        self._offered = len(frames)

    @property
    def full(self) -> bool:
        """Whether a new frame must replace another."""
        return 0 < self._settings.buffer_size <= len(self.frames)

    def update(
        self, next_frame: int, registered_mean: Mapping[int, float], local_mean: Mapping[int, float]
    ) -> list[Buffered]:
        """Offer the strides that are complete; does nothing until enough of them are.

        Args:
            next_frame: first frame that is not registered yet.
            registered_mean: frame -> mean confidence of its registration, from the milestone on.
            local_mean: frame -> mean confidence of its local pointmap.

        Returns:
            What entered and left, in order.
        """
        changes: list[Buffered] = []
        if next_frame - self.milestone < self.stride * self._settings.buffer_interval:
            return changes
        while next_frame - self.milestone >= self.stride:
            self._offered += 1
            if self._accepts():
                chosen = self._choose(registered_mean, local_mean)
                if registered_mean[chosen] >= self._settings.buffer_confidence:
                    changes.append(self._insert(chosen))
            self.milestone += self.stride
        return changes

    def state_dict(self) -> dict[str, Any]:
        """Members and counters. The random generator belongs to the reconstructor."""
        counters = {"stride": self.stride, "milestone": self.milestone, "offered": self._offered}
        return {"frames": list(self.frames), **counters}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.frames, self.stride = list(state["frames"]), state["stride"]
        self.milestone, self._offered = state["milestone"], state["offered"]

    def _accepts(self) -> bool:
        if not self.full or self._settings.buffer_strategy == "fifo":
            return True
        # Drawn only when needed, because the order of draws is part of the published behaviour.
        return self._random.rand() < self._settings.buffer_size / self._offered

    def _choose(self, registered_mean: Mapping[int, float], local_mean: Mapping[int, float]) -> int:
        first = max(self.milestone, self.frames[-1] + (3 * self.stride) // 4)
        candidates = range(first, self.milestone + self.stride)
        scores = [(1 - 1 / registered_mean[frame]) * (1 - 1 / local_mean[frame]) for frame in candidates]
        return candidates[int(np.argmax(scores))]

    def _insert(self, chosen: int) -> Buffered:
        removed = None
        if self.full:
            position = 0
            if self._settings.buffer_strategy == "reservoir":
                position = int(self._random.randint(self._settings.buffer_size))
            removed = self.frames.pop(position)
        self.frames.append(chosen)
        return Buffered(chosen, removed)
