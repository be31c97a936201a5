"""Results of the networks for each frame alone, kept for all the windows it appears in."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

from common.backbone import ViewStart


class ViewStarts:
    """Starts of frames in one role of one network, made when they are first needed.

    About four times a frame's tokens in memory, so they are forgotten with the frames (`forget_all_but`).
    """

    def __init__(self) -> None:
        self._kept: dict[int, ViewStart] = {}

    def join(self, frames: Iterable[int], make: Callable[[Sequence[int]], ViewStart]) -> ViewStart:
        """Frames in one item, in their order.

        Args:
            frames: may name a frame several times.
            make: called with the frames that are new, if there are any.
        """
        frames = list(frames)
        new = [frame for frame in dict.fromkeys(frames) if frame not in self._kept]
        if new:
            self._kept |= dict(zip(new, make(new).split(), strict=True))
        return ViewStart.join([self._kept[frame] for frame in frames])

    def forget_all_but(self, frames: Container[int]) -> None:
        """Drop the starts of all other frames."""
        self._kept = {frame: start for frame, start in self._kept.items() if frame in frames}
