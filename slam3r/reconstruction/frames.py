"""Frames inside the reconstructor, and frames it hands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Status = Literal["registered", "low_confidence"]


@dataclass
class FrameInput:
    """What is known of a frame before it is registered."""

    tokens: Tensor
    """(N, E) encoder tokens, not normalized."""
    image: Tensor
    """(3, H, W) in [-1, 1], on the CPU."""
    timestamp: float
    name: str


@dataclass
class LocalPointmap:
    """A frame's own pointmap from its I2P window."""

    raw_points: Tensor
    """(H, W, 3) as the network gave it, camera frame, arbitrary scale."""
    confidence: Tensor
    """(H, W)."""
    points: Tensor
    """(H, W, 3) as L2W reads it: over the joint scale of the confident points, 0 elsewhere."""
    mean_confidence: float


@dataclass
class WorldPointmap:
    """A frame's registered pointmap."""

    points: Tensor
    """(H, W, 3) world."""
    confidence: Tensor
    """(H, W) of L2W; with `rigid_registration` of I2P, whose shape it is, in a weak frame at
    most the mean of L2W."""
    mean_confidence: float
    """Of L2W."""


@dataclass
class RegisteredFrame:
    """One finished frame. All tensors are on the CPU.

    The world is the camera frame of the initial window's reference; its unit is the mean distance of that window's
    confident points.
    """

    index: int
    name: str
    timestamp: float
    """Seconds."""
    image: Tensor
    """(3, H, W) float32 in [-1, 1], network pixels."""
    world_points: Tensor
    """(H, W, 3)."""
    world_confidence: Tensor
    """(H, W)."""
    local_points: Tensor | None
    """(H, W, 3) camera frame, arbitrary scale; None for frames of the initial window, which have none."""
    local_confidence: Tensor
    """(H, W); for frames of the initial window the confidence they had there."""
    mean_confidence: float
    """Of the registration."""
    local_mean_confidence: float
    keyframe: bool
    """A multiple of the stride: one of the frames that windows are made of. What enters the buffering set is told by
    `slam3r.reconstruction.events.Buffered`."""
    status: Status
    camera_to_world: Tensor | None
    """(4, 4) OpenCV; None where the pose could not be solved, never a made-up one."""
    intrinsics: Tensor
    """(3, 3) network pixels, shared by all frames."""
    pose_inliers: float
    """Share of the confident pixels that agree with the pose; 0 where there is none."""
