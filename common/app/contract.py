"""Interface between a user interface and a system.

A user interface (the web application) drives anything with the attributes of `System`, which returns its result as an
`Outcome`. Neither depends on the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from common.app.levels import Levels
from common.app.remaining import Remaining
from common.data.sources.frame_source import FrameSource
from common.export.mesh import Mesh


class Cancelled(BaseException):
    """Raised when the user cancels a run.

    Not an `Exception`, so that a guard around optional work does not take it for a fault.
    """


@dataclass(frozen=True)
class Option:
    """One parameter of a system that a user may set."""

    name: str
    label: str
    help: str
    default: Any
    kind: Literal["number", "whole", "switch", "choice"] = "number"
    low: float = 0.0
    high: float = 1.0
    step: float = 1.0
    choices: tuple[str, ...] = ()
    basic: bool = False
    """Whether it is always visible; the others are folded."""


@dataclass
class Cloud:
    """Points in random order, so that the first ones are a random sample."""

    points: NDArray[np.float32]
    """(P, 3) world."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    confidence: NDArray[np.float32]
    """(P,), in the unit of the model."""


@dataclass
class Splats:
    """Gaussians for drawing: their colour as seen from anywhere."""

    scales: NDArray[np.float32]
    """(P, 3) standard deviations, world unit."""
    rotations: NDArray[np.float32]
    """(P, 4) unit quaternions, wxyz."""
    opacities: NDArray[np.float32]
    """(P,) in (0, 1)."""


@dataclass
class Picture:
    """A picture with an alternative text."""

    caption: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""


@dataclass(frozen=True)
class PosedFrame:
    """A frame whose camera is known."""

    name: str
    """Name of the file, or a generated one; without the folders of the machine."""
    timestamp: float
    """Seconds."""
    camera_to_world: NDArray[np.float64]
    """(4, 4), OpenCV axes."""
    intrinsics: NDArray[np.float64]
    """(3, 3), pixels of the original picture; NaN where unknown."""
    size: tuple[int, int]
    """(height, width) of the original picture."""
    file: Path | None = None
    """Image file of the frame, if it has one."""


@dataclass
class Before:
    """A scene before refinement, in the same world, with the points that would have been its result."""

    cloud: Cloud
    cameras: NDArray[np.float64]
    """(N, 4, 4) camera-to-world of the frames with a pose."""


@dataclass
class Outcome:
    """A finished run."""

    cloud: Cloud
    frames: list[PosedFrame]
    levels: Levels
    """Steps of the control that chooses points."""
    verdict: str = ""
    """One sentence: how well pictures and cameras agree."""
    agrees: bool | None = None
    """Whether they do; None where nobody knows."""
    before: Before | None = None
    """The scene before it was refined; None where it was not."""
    splats: Splats | None = None
    """One per point of the cloud."""
    mesh: Mesh | None = None
    """A surface that is there already."""
    strip: list[Picture] = field(default_factory=list)
    """Per frame: the image, its depth, its confidence."""
    figures: dict[str, str] = field(default_factory=dict)
    """Names and values for a table."""
    warnings: list[str] = field(default_factory=list)
    write_more: Callable[[Path], list[Path]] | None = None
    """Writes files of the system's own to a folder."""
    film: Callable[[Path, Watcher], Path] | None = None
    """Writes a film of new views to a folder."""
    search: Callable[[Sequence[str]], list[Picture]] | None = None
    """Heat maps for words."""
    legend: list[tuple[str, tuple[int, int, int]]] = field(default_factory=list)
    """Classes of the segmentation and their colours, RGB."""

    @property
    def cameras(self) -> NDArray[np.float64]:
        """(N, 4, 4) camera-to-world of the frames."""
        return np.array([frame.camera_to_world for frame in self.frames]).reshape(-1, 4, 4)


class Watcher:
    """Progress of a run, written by the thread that runs it and read by the threads that show it."""

    def __init__(self) -> None:
        self._lock, self._cancelled = threading.Lock(), threading.Event()
        self._stage, self._done = "starting", 0.0
        self._total: float | None = None
        self._remaining = Remaining({})
        self._parts: list[Cloud] = []
        self._poses: list[NDArray[np.float64]] = []

    def plan(self, durations: Mapping[str, float]) -> None:
        """Say how long the stages to come take in relation to each other, so that the remaining time can be told."""
        with self._lock:
            self._remaining = Remaining(durations)

    def report(self, stage: str, done: float = 0, total: float | None = None) -> None:
        """Report the stage and its progress: a `common.progress.ProgressListener`.

        Raises:
            Cancelled: the user cancelled the run.
        """
        if self._cancelled.is_set():
            raise Cancelled
        with self._lock:
            self._stage, self._done, self._total = stage, done, total
            self._remaining.at(stage, done / total if total else 0.0)

    def grow(self, part: Cloud, pose: NDArray[np.float64] | None) -> None:
        """A frame was registered: some of its points, and its camera (4, 4) or None."""
        with self._lock:
            self._parts.append(part)
            if pose is not None:
                self._poses.append(pose)

    def cancel(self) -> None:
        """Ask the run to stop; it does so at its next report."""
        self._cancelled.set()

    @property
    def state(self) -> tuple[str, float, float | None, float | None]:
        """Stage, done, total, and an estimate of the seconds until the end, if there is one."""
        with self._lock:
            return self._stage, self._done, self._total, self._remaining.seconds

    @property
    def version(self) -> int:
        """Rises with every frame."""
        return len(self._parts)

    def grown(self) -> tuple[Cloud, NDArray[np.float64]]:
        """All points so far, and the cameras (N, 4, 4)."""
        with self._lock:
            parts, poses = list(self._parts), np.array(self._poses).reshape(-1, 4, 4)
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])] if parts else []
        empty = Cloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8), np.empty(0, np.float32))
        return (Cloud(*columns) if columns else empty), poses


class System(Protocol):
    """System that makes a scene from images."""

    name: str
    models: Sequence[str]
    """Names to choose from; the first is the default."""
    options: Sequence[Option]

    def run(self, source: FrameSource, model: str, values: Mapping[str, Any], watcher: Watcher) -> Outcome:
        """Make a scene.

        Args:
            source: source of images; validated here.
            model: one of `models`.
            values: values of all `options`, by name.
            watcher: receives the progress.

        Raises:
            Cancelled: the user cancelled the run.
            InputError, CheckpointError, ConfigurationError: with a sentence for the user.
        """
        ...
