"""Types of numbers with their ranges, for the fields of settings: `common.configuration.to_dataclass` checks them.

Upper bounds only stop slips of the finger that would allocate or loop for ever; a limit that means something has a type
or a check of its own.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

Count = Annotated[int, Field(ge=1, le=10**9)]
"""At least one."""
CountOrZero = Annotated[int, Field(ge=0, le=10**9)]
"""Zero or more."""
Threads = Annotated[int, Field(ge=1, le=4096)]
"""Processor threads."""
Workers = Annotated[int, Field(ge=0, le=1024)]
"""Worker processes; 0 works in the main process."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Seed that every random generator takes."""
Port = Annotated[int, Field(ge=1, le=65535)]
"""Port of a server."""
Pixels = Annotated[int, Field(ge=1, le=32768)]
"""Side of a picture."""
Bytes = Annotated[int, Field(ge=1, le=2**46)]
"""Sizes of memory, files and queues."""
Quality = Annotated[int, Field(ge=0, le=100)]
"""Quality of JPEGs."""
Byte = Annotated[int, Field(ge=0, le=255)]
"""Value of a colour."""
Positive = Annotated[float, Field(gt=0, le=1e12)]
"""Greater than zero."""
NotNegative = Annotated[float, Field(ge=0, le=1e12)]
"""Zero or more."""
Share = Annotated[float, Field(ge=0, le=1)]
"""Part of a whole."""
FieldOfView = Annotated[float, Field(gt=1, lt=179)]
"""Degrees that a pinhole camera can see."""
Angle = Annotated[float, Field(ge=0, le=180)]
"""Degrees between two directions."""
FramesPerSecond = Annotated[float, Field(gt=0, le=1000)]
"""Rate that containers of video can state."""


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"expected [smallest, largest], got {list(bounds)}")
    return bounds


Span = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_ordered)]
"""Smallest and largest of something that is not negative."""
AngleSpan = Annotated[tuple[Angle, Angle], AfterValidator(_ordered)]
"""Smallest and largest angle, degrees."""
FieldOfViewSpan = Annotated[tuple[FieldOfView, FieldOfView], AfterValidator(_ordered)]
"""Smallest and largest field of view, degrees."""
