"""Result of refinement: cameras, depth, and a verdict on how well pictures and cameras agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from common.refinement.projection import rays
from common.refinement.types import Picture, RefinedCameras, RefinedDepth

Applied = Literal["none", "cameras", "dense"]


@dataclass(frozen=True)
class Verdict:
    """Agreement of pictures and cameras, measured on matches that no stage was fitted to.

    None stands for "not measured". Pixels are those of the working pictures (long side at most 1024).
    """

    applied: Applied = "none"
    """Part of the refinement that was taken."""
    agrees: bool | None = None
    """Pictures and cameras agree: most frames are connected by matches, and these lie near their epipolar lines."""
    epipolar_error: float | None = None
    """Median distance of a match from its epipolar line with the cameras of the result, pixels."""
    epipolar_error_before: float | None = None
    """The same with the cameras of the network."""
    frames_checked: int = 0
    """Frames whose pictures were looked at."""
    frames_connected: float | None = None
    """Share of frames in the largest part that matches connect; None where only a sample of the frames was checked."""
    matches_connected: float | None = None
    """Share of the verified matches that lie within that part."""
    confirmed: float | None = None
    """Share of pixels whose depth at least two other views confirm."""
    confirmed_before: float | None = None
    """Share on which two other views agree by the network's own depth, with the cameras of the result."""
    reason: str = ""
    """Reason for the result, in one line."""

    def sentence(self) -> str:
        """One line for the user."""
        if self.agrees is None:
            return f"not verified: {self.reason}"
        facts = []
        if self.epipolar_error is not None:
            facts.append(f"matches lie {self.epipolar_error:.1f} px from their epipolar lines (median)")
        if self.frames_connected is not None:
            facts.append(f"{self.frames_connected:.0%} of the frames are connected")
        if self.confirmed is not None:
            facts.append(f"{self.confirmed:.0%} of the points are confirmed by other views")
        head = "pictures and cameras agree" if self.agrees else "pictures and cameras do NOT agree, do not trust this"
        return "; ".join([f"{head}: {', '.join(facts) or 'nothing could be matched'}", *filter(None, [self.reason])])


@dataclass
class Refinement:
    """Consistent cameras and depths of N frames, or the network's own where those were not improved."""

    verdict: Verdict
    pictures: list[Picture]
    """(N) without their pixels: sizes, cameras, and the way from working to network pixels."""
    cameras: RefinedCameras | None = None
    """None where nothing was refined."""
    depth: RefinedDepth | None = None
    """None where nothing was refined."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds of each stage."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds of each stage, all threads together."""

    def camera_points(self, frame: int) -> Tensor:
        """(H, W, 3) float32 points of a frame in its own camera, in the unit of the world; needs `cameras`."""
        assert self.cameras is not None and self.depth is not None
        picture, depth = self.pictures[frame], self.depth.depth[frame]
        camera = self.cameras.cameras[picture.camera]
        return rays(camera, picture.network_from_working, (depth.shape[-2], depth.shape[-1])) * depth[..., None]

    def confidence(self, frame: int) -> Tensor:
        """(H, W) float32 number of views that see a frame's points where they are, its own included; 1 where no other
        confirms it. Needs `depth`."""
        assert self.depth is not None
        return 1 + torch.where(self.depth.confirmed[frame], self.depth.views[frame].float(), 0.0)

    def world_points(self, frame: int) -> Tensor:
        """(H, W, 3) float32 world points of a frame; NaN for a frame without a pose. Needs `cameras`."""
        assert self.cameras is not None
        pose = self.cameras.placed[frame].double()
        return (self.camera_points(frame).double() @ pose[:3, :3].T + pose[:3, 3]).float()
