"""Input and output of refinement, as plain tensors: neither system's own classes.

Pixels: the centre of the top left pixel is (0, 0). *Working* pixels are those of the pictures that refinement looks at
(long side at most ``long_side``), *network* pixels those of the network's grid. Cameras are OpenCV's (x right, y down,
z forward), poses camera-to-world; the world is the one of the network's prediction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """One input picture as refinement sees it."""

    image: Tensor
    """(3, h, w) or (1, h, w) uint8, RGB or gray, upright, working size."""
    original_size: tuple[int, int]
    """(height, width) of the original picture."""
    camera: int
    """Number of the physical camera that took it; pictures of one camera share a focal length."""
    network_from_working: Tensor
    """(3, 3) homogeneous: network pixel <- working pixel."""
    name: str = ""
    mask: Tensor | None = None
    """(h, w) bool, False where nothing may be matched (people, time stamps, the car's bonnet); None: everywhere."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the working picture."""
        return int(self.image.shape[-2]), int(self.image.shape[-1])


@dataclass
class Camera:
    """A physical camera in working pixels: pinhole, with one radial term at most.

    A point (x, y, 1) in the camera's frame is seen at (fx d x + cx, fy d y + cy) with d = 1 + k1 (x^2 + y^2).
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int]
    """(height, width) of the working pictures."""
    k1: float = 0.0
    known: bool = False
    """The user gave it: nothing about it is estimated."""

    @property
    def focal(self) -> float:
        """Mean of the two focal lengths, working pixels."""
        return (self.fx + self.fy) / 2

    @property
    def matrix(self) -> Tensor:
        """(3, 3) float64 intrinsics, without k1."""
        return torch.tensor([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=torch.float64)


@dataclass
class Prediction:
    """The network's word on N frames."""

    depth: Tensor
    """(N, H, W) along the optical axis in each frame's own camera; the scale of a frame is its own."""
    valid: Tensor
    """(N, H, W) bool."""
    confidence: Tensor
    """(N, H, W)."""
    camera_to_world: Tensor
    """(N, 4, 4) first poses in a common world; NaN where a frame has none."""
    intrinsics: Tensor
    """(3, 3) or (N, 3, 3), network pixels."""

    def __len__(self) -> int:
        return len(self.depth)


@dataclass
class Tracks:
    """Points in space and the pixels where they were seen."""

    point: Tensor
    """(P, 3) float32, world."""
    frame: Tensor
    """(O,) int64, frame of each observation."""
    xy: Tensor
    """(O, 2) float32, working pixels."""
    point_index: Tensor
    """(O,) int64, row of `point`."""

    @classmethod
    def empty(cls) -> Tracks:
        """No point and no observation."""
        integers = torch.zeros(0, dtype=torch.int64)
        return cls(torch.zeros(0, 3), integers, torch.zeros(0, 2), integers)

    @property
    def length(self) -> Tensor:
        """(P,) int64, number of observations of each point."""
        return torch.bincount(self.point_index, minlength=len(self.point))


@dataclass
class CameraEvidence:
    """Agreement of pictures and cameras, measured on matches that no stage was fitted to.

    Epipolar errors are medians in working pixels; NaN where there was nothing to measure.
    """

    refined: bool = False
    """The refined cameras are better and were taken; False: those of the network were kept."""
    reason: str = ""
    """One line for the user: why."""
    error_before: float = float("nan")
    """Epipolar error of the network's poses and focal length, over the frames of the largest connected part."""
    error_after: float = float("nan")
    """The same matches with refined cameras."""
    held_back: int = 0
    """Number of matches behind these two."""
    frames_connected: float = 0.0
    """Share of frames in the largest connected part."""
    matches_connected: float = 0.0
    """Share of verified matches between frames of that part."""
    area_agreeing: float = 0.0
    """Share of the pictures' area (cells with matches) where most matches agree with the cameras. What moves on its
    own, and what looks alike but is not the same, does not."""
    parallax: float = float("nan")
    """Median over points of the largest angle of their rays to the first of them, degrees."""
    focal_before: list[float] = field(default_factory=list)
    """The network's focal length of each camera, working pixels."""
    focal_after: list[float] = field(default_factory=list)
    """The refined one."""


@dataclass
class RefinedCameras:
    """The outcome of `refine_cameras`; the network's own cameras where `evidence.refined` is False."""

    cameras: list[Camera]
    """One for each physical camera, by its number."""
    camera_to_world: Tensor
    """(N, 4, 4) float32, refined poses; NaN outside the connected part."""
    connected: Tensor
    """(N,) bool, frames of the largest connected part."""
    placed: Tensor
    """(N, 4, 4) float32, as `camera_to_world`, and for the other frames the network's pose relative to their connected
    neighbours; NaN where the network has none."""
    placed_scale: Tensor
    """(N,) float32, factor from the network's world unit to the refined one beside each frame; 1 where nothing is
    known."""
    depth_scale: Tensor
    """(N,) float32, factor from the network's depth of a frame to the world's unit, from the tracks (median); NaN where
    a frame has too few."""
    tracks: Tracks
    evidence: CameraEvidence
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds of each stage."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds of each stage, all threads together."""


@dataclass
class RefinedDepth:
    """Depth maps that several views support, on the network's grid."""

    depth: Tensor
    """(N, H, W) along the optical axis, the world's unit; the ray of a pixel is that of the `Camera`, k1 included."""
    views: Tensor
    """(N, H, W) uint8, number of neighbours whose own depth agrees with `depth` within 3 %."""
    seen: Tensor
    """(N, H, W) uint8, number of neighbours that could see the point."""
    confirmed: Tensor
    """(N, H, W) bool, at least two agree, the pictures match and no depth jump is beside."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds of each stage."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds of each stage, all threads together."""
