"""How much the benchmark asks of the service; it is read where the extra ``service`` is not installed, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LoadName = Literal["flat out", "sustained", "overload"]


@dataclass(frozen=True)
class ServiceWorkload:
    """``service`` of ``configs/profile.yaml``."""

    url: str | None = None
    """Of the broker; None: on this machine."""
    loads: tuple[LoadName, ...] = ("flat out", "sustained")
    seconds: float = 60.0
    """Of each load, after its world was founded."""
    frames_per_second: float | None = None
    """What the service takes; None: what "flat out" has measured."""
    sustained: float = 0.8
    """Share of it that is offered as "sustained"."""
    overload: float = 10.0
    """Times of it that are offered as "overload"."""
    picture_size: tuple[int, int] = (480, 640)
    """(height, width) of the JPEGs."""
    image_size: int = 224
    """Of the networks' images."""
    mesh: bool = True
    """Let the mesh process run beside."""
    threads: int | None = None
    """Of the worker; None: torch's choice."""

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.sustained <= 0 or self.overload <= 0:
            raise ValueError("seconds, sustained and overload must be positive")
