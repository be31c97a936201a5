"""Frames inside the reconstructor, and the frames that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.data.sources.preprocess import denormalize
from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.placement.tracks import TrackedPicture

Status = Literal["registered", "low_confidence", "placed", "interpolated"]
"""registered and low_confidence: the frame has a pointmap. placed and interpolated: it has a pose alone, by the corners
of the keyframes before and after it, or, where too few were found, from the poses of these two."""


def has_pointmap(status: Status) -> bool:
    """Whether a frame of this status went through the networks."""
    return status in ("registered", "low_confidence")


@dataclass
class FrameInput:
    """A frame before it is registered."""

    tokens: Tensor
    """(N, E) encoder tokens, not normalized."""
    image: Tensor
    """(3, H, W) in [-1, 1], on the CPU."""
    timestamp: float
    """Seconds."""
    name: str

    @cached_property
    def picture(self) -> TrackedPicture:
        """The image for corner tracks; its corners are found once, on first use."""
        return TrackedPicture.from_image(self.image)


@dataclass
class LocalPointmap:
    """A frame's own pointmap from its I2P window."""

    raw_points: Tensor
    """(H, W, 3) raw network output, camera frame, arbitrary scale."""
    confidence: Tensor
    """(H, W)."""
    points: Tensor
    """(H, W, 3) as L2W reads it: divided by the mean distance of the valid points, 0 elsewhere."""
    valid: Tensor
    """(H, W) bool: confident enough as input of L2W."""
    mean_confidence: float


@dataclass
class WorldPointmap:
    """A frame's registered pointmap."""

    points: Tensor
    """(H, W, 3) world; 0 where not valid."""
    confidence: Tensor
    """(H, W) L2W's confidence; with `rigid_registration` I2P's, whose shape it is, bounded in a weak frame by the mean
    of L2W's."""
    valid: Tensor
    """(H, W) bool: there is a finite point. False for the pixels of initial frames that I2P was unsure of."""
    mean_confidence: float
    """L2W's mean confidence over all pixels."""


class ConfidentPoints(NamedTuple):
    """The confident points of a frame, in the order of its pixels."""

    points: NDArray[np.float32]
    """(N, 3) world."""
    colors: NDArray[np.uint8]
    """(N, 3) RGB."""
    confidence: NDArray[np.float32]
    """(N,)."""


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
    """(H, W, 3); 0 where not valid."""
    world_confidence: Tensor
    """(H, W)."""
    valid: Tensor
    """(H, W) bool: the pixels that have a world point, and a finite one."""
    local_points: Tensor | None
    """(H, W, 3) camera frame, arbitrary scale; None for frames of the initial window, and for those that have a pose
    alone."""
    local_confidence: Tensor
    """(H, W); for frames of the initial window the confidence they had there."""
    mean_confidence: float
    """L2W's mean confidence over all pixels; of a frame with a pose alone, the lower one of its two keyframes."""
    local_mean_confidence: float
    keyframe: bool
    """A multiple of the stride: one of the frames that windows are made of. Not the same as a member of the buffering
    set, see `slam3r.reconstruction.events.Buffered`."""
    status: Status
    camera_to_world: Tensor | None
    """(4, 4) OpenCV; None where no pose was found, never a made-up one."""
    intrinsics: Tensor
    """(3, 3) network pixels, shared by all frames."""
    pose_inliers: float
    """Share of the confident pixels whose registered point agrees with the pose, within 5 % of its distance (by PnP:
    whose reprojection does); 0 without a pose. It tells how well the frame's own pointmap and the registered one fit
    each other, not whether the pose is right: that is the verdict's part. Of a placed frame, the share of the tracked
    corners that agree with the pose."""
    sightings: tuple[Sighting, ...] = ()
    """Corners of the two keyframes beside it, for a frame with a pose alone."""

    @property
    def has_pointmap(self) -> bool:
        """Whether the frame went through the networks; if not, it has a pose and no valid pixel."""
        return has_pointmap(self.status)

    @property
    def colors(self) -> Tensor:
        """(H, W, 3) uint8 RGB of the network image."""
        return denormalize(self.image)

    def confident_points(self, threshold: float) -> ConfidentPoints:
        """Valid points whose confidence is strictly above a threshold, with their colours."""
        chosen = (self.valid & (self.world_confidence > threshold)).flatten()
        return ConfidentPoints(
            self.world_points.float().flatten(0, 1)[chosen].numpy(),
            self.colors.flatten(0, 1)[chosen].numpy(),
            self.world_confidence.float().flatten()[chosen].numpy(),
        )

    def depth(self) -> Tensor | None:
        """(H, W) float32 depth along the optical axis, in the unit of the world.

        0 where there is no valid point in front of the camera; None for a frame without a pose.
        """
        if self.camera_to_world is None:
            return None
        pose = self.camera_to_world.double()
        depth = (self.world_points.double() - pose[:3, 3]) @ pose[:3, 2]
        return torch.where(self.valid & (depth > 0), depth, 0.0).float()
