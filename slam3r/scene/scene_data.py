"""The data of a reconstructed scene: points, cameras, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.export.mesh import Mesh
from common.meters import MemoryPeak
from common.refinement.outcome import Verdict
from slam3r.reconstruction.events import StrideTried
from slam3r.reconstruction.settings import ReconstructionSettings
from slam3r.scene.frame_strip import StripFrame
from slam3r.scene.known.unit import Unit
from slam3r.scene.sinks import FrameSummary


@dataclass(frozen=True)
class SceneFrame(FrameSummary):
    """A registered frame with the picture that it came from."""

    number: int
    """Number of the file or video frame in the whole input, including frames that were not selected or skipped."""
    original_size: tuple[int, int]
    """(height, width) of the picture, upright."""
    intrinsics: NDArray[np.float64]
    """(3, 3) in pixels of the original picture."""
    file: Path | None
    """Image file of the frame, if it has one."""
    radial_distortion: float = 0.0
    """k1: a point (x, y, 1) of the camera is seen where the pinhole camera sees (1 + k1 (x^2 + y^2)) (x, y). Estimated
    by refinement alone."""
    connected: bool = True
    """Matches tie the frame to the largest part of the scene; False where refinement could only leave it beside its
    neighbours."""


@dataclass(frozen=True)
class SceneTracks:
    """Points that refinement triangulated, and the pixels where pictures see them."""

    points: NDArray[np.float64]
    """(P, 3) world."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    point: NDArray[np.int64]
    """(O,) row of `points` of each observation."""
    frame: NDArray[np.int64]
    """(O,) index of the frame of each observation."""
    xy: NDArray[np.float64]
    """(O, 2) pixels of the original picture; the centre of the top left pixel is (0, 0)."""


@dataclass(frozen=True)
class Unrefined:
    """A refined scene as the network left it, in the same world."""

    points: NDArray[np.float32]
    """(P, 3) world: those that would have been the result, or a uniform random choice of them; in random order."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    confidence: NDArray[np.float32]
    """(P,) of the network."""
    camera_to_world: NDArray[np.float64]
    """(N, 4, 4) of all frames; NaN for frames without a pose."""


@dataclass
class SceneData:
    """A scene: points, cameras, and how it came about.

    The world is the camera frame of the initial window's reference frame (OpenCV axes) and its unit arbitrary, unless
    cameras, depths or a length were given: see `unit`.
    """

    points: NDArray[np.float32]
    """(P, 3) world points of confidence above `threshold`; a uniform random choice if there were too many. Of a refined
    scene, the confidence of a point is the number of views that see it there, its own included."""
    colors: NDArray[np.uint8]
    """(P, 3) RGB."""
    confidence: NDArray[np.float32]
    """(P,)."""
    frames: list[SceneFrame]
    """All registered frames, in order."""
    network_intrinsics: NDArray[np.float64]
    """(3, 3) in pixels of the network images, shared by all frames; `SceneFrame.intrinsics` are those of each."""
    network_size: tuple[int, int]
    """(height, width) of the network images."""
    stride: int
    """Frames between keyframes; where keyframes were chosen by motion, between those that make a window."""
    initial_window: tuple[int, ...]
    """Frames of the initial window."""
    initial_reference: int
    """Position in `initial_window` of the frame whose camera is the world."""
    settings: ReconstructionSettings
    threshold: float
    """Confidence above which points were kept."""
    num_confident: int
    """Points above the threshold, kept or not."""
    highest_confidence: float
    """Highest confidence of all points."""
    seconds: dict[str, float]
    """Seconds per stage."""
    total_seconds: float
    """From the first frame read to the last registered; loading the model and writing files do not count."""
    peak_memory: MemoryPeak
    model: dict[str, Any]
    """Name, licence and weights with their revisions; device and dtype."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(file or frame, reason) of input that could not be read."""
    notes: list[str] = field(default_factory=list)
    """Further remarks about the input, one sentence each."""
    ended: str | None = None
    """Reason for the end of a live source; None for files."""
    strides_tried: list[StrideTried] = field(default_factory=list)
    strip: list[StripFrame] = field(default_factory=list)
    """A few frames with their depths and confidences, for a picture."""
    verdict: Verdict = field(default_factory=Verdict)
    """Agreement of images and cameras, and the outcome of refinement."""
    mesh: Mesh | None = None
    """Surface through all depth maps, where ``export.mesh`` asked for it."""
    unit: Unit = field(default_factory=Unit)
    """Unit of length."""
    tracks: SceneTracks | None = None
    """None where nothing was refined."""
    unrefined: Unrefined | None = None
    """None where nothing was refined."""
    made_from: dict[str, Any] = field(default_factory=dict)
    """Finished runs that the scene was made of, and how they fit together; empty for a scene made of pictures alone."""
    interrupted: bool = False
    """Whether the user stopped the run before the end of the input."""

    @property
    def camera_to_world(self) -> NDArray[np.float64]:
        """(N, 4, 4) poses of all frames, OpenCV axes; NaN for frames without one."""
        unknown = np.full((4, 4), np.nan)
        poses = [unknown if frame.camera_to_world is None else frame.camera_to_world for frame in self.frames]
        return np.array(poses).reshape(-1, 4, 4)

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """(N, 3, 3) in pixels of the original pictures."""
        return np.array([frame.intrinsics for frame in self.frames]).reshape(-1, 3, 3)

    @property
    def mapped(self) -> list[SceneFrame]:
        """The frames that have a pointmap: all of them, unless ``reconstruction.between`` chose keyframes."""
        return [frame for frame in self.frames if frame.has_pointmap]

    def sentence(self) -> str:
        """Number of frames, and of keyframes among them, in words."""
        mapped = len(self.mapped)
        if mapped == len(self.frames):
            return f"{mapped} frames at stride {self.stride}"
        return f"{mapped} of {len(self.frames)} frames are keyframes"

    @property
    def posed(self) -> list[SceneFrame]:
        """The frames that have a pose."""
        return [frame for frame in self.frames if frame.camera_to_world is not None]

    @property
    def frames_per_second(self) -> float:
        """Registered frames per second of the whole run."""
        return len(self.frames) / self.total_seconds if self.total_seconds > 0 else 0.0
