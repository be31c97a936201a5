"""Decisions of the reconstructor, reported to its observer: tests, the summary, a user interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class StrideTried:
    """One candidate of the stride search."""

    stride: int
    centers: tuple[int, ...]
    """Frames whose windows were decoded."""
    mean_confidence: float


@dataclass(frozen=True)
class WindowTried:
    """One reference of one initial window."""

    frames: tuple[int, ...]
    reference: int
    """Index in the window."""
    mean_confidence: float


@dataclass(frozen=True)
class Initialized:
    """The initial window that was chosen."""

    frames: tuple[int, ...]
    reference: int


@dataclass(frozen=True)
class Registered:
    """One round of registration."""

    buffer: tuple[int, ...]
    queries: tuple[int, ...]
    selected: tuple[int, ...]
    """Buffered frames used as references, best first when retrieved."""
    scores: tuple[float, ...] | None
    """Retrieval scores in the order of ``buffer``; None when the whole buffer was taken."""


@dataclass(frozen=True)
class Buffered:
    """A frame entered the buffering set, maybe in place of another."""

    frame: int
    removed: int | None


Event = StrideTried | WindowTried | Initialized | Registered | Buffered
Observer = Callable[[Event], None]


def renumbered(event: Event, number: Mapping[int, int]) -> Event:
    """The same decision with other indices of its frames."""

    def those(frames: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(number[frame] for frame in frames)

    match event:
        case StrideTried():
            return replace(event, centers=those(event.centers))
        case WindowTried() | Initialized():
            return replace(event, frames=those(event.frames))
        case Registered():
            buffer, queries, selected = those(event.buffer), those(event.queries), those(event.selected)
            return replace(event, buffer=buffer, queries=queries, selected=selected)
        case Buffered():
            removed = None if event.removed is None else number[event.removed]
            return replace(event, frame=number[event.frame], removed=removed)
