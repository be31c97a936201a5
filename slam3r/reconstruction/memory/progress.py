"""Progress counters of a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Progress:
    """Counters of a reconstructor. Frames are numbered from 0 in the order of pushing."""

    stride: int | None
    """Keyframe stride; None until it is found."""
    stride_since: int = 0
    """First frame of the present stride; keyframes count from it."""
    received: int = 0
    """Frames pushed."""
    next_local: int = 0
    """First frame without a local pointmap."""
    next_frame: int = 0
    """First frame that is not registered."""
    first_held: int = 0
    """First frame whose tokens windows may use."""

    def is_keyframe(self, index: int) -> bool:
        """Whether a frame is a multiple of the stride, counted from where that began."""
        assert self.stride is not None, "frames are registered after the stride was found"
        return (index - self.stride_since) % self.stride == 0
