"""Poses of frames between keyframes, from the corners that they share with the keyframe before and the one after.

A corner of a keyframe is a point on its viewing ray, at the depth that the keyframe has there. PnP with RANSAC finds
the camera that sees these points where the frame shows the corners (OpenCV). Each of the two keyframes gives a pose;
they are blended by nearness, so that the path is continuous where the keyframes disagree. Without enough corners the
pose is interpolated between those of the keyframes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.frames import Status

FEWEST_CORNERS = 12
"""Fewest corners that must agree on a pose."""
LEAST_SHARE = 0.3
"""Smallest share of the corners that must agree on a pose."""
MAX_ERROR = 2.0
"""Distance of a corner from where its point is seen, network pixels, at most, for it to agree."""
_ITERATIONS = 200
_CAMERA = np.eye(3)

Rays = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Pixels (N, 2) of a frame's network image to (x, y) at z = 1 of its camera, without distortion."""


@dataclass(frozen=True)
class Anchor:
    """A keyframe against which the frames beside it are placed."""

    index: int
    depth: NDArray[np.float32]
    """(H, W) along the optical axis, in the unit of the world; 0 where it is not trusted."""
    camera_to_world: NDArray[np.float64] | None
    """(4, 4) OpenCV; None without a pose."""


@dataclass(frozen=True)
class Placement:
    """Pose of a frame between keyframes."""

    camera_to_world: NDArray[np.float64] | None
    """(4, 4) OpenCV; None where a keyframe that it would be interpolated from has none."""
    status: Status
    """placed or interpolated."""
    inliers: float
    """Share of the corners that agree with the pose; 0 where it is interpolated."""


def place_between(
    index: int, sightings: Sequence[Sighting], anchors: tuple[Anchor, Anchor], rays: Rays, pixel: float
) -> Placement:
    """Place a frame between two keyframes.

    Args:
        index: of the frame.
        sightings: corners of the two in it, in their order.
        anchors: the keyframe before and the one after.
        rays: of the frame's camera.
        pixel: size of a network pixel at z = 1, for thresholds.
    """
    share = (index - anchors[0].index) / (anchors[1].index - anchors[0].index)
    found = [_placed_by(*pair, rays, MAX_ERROR * pixel) for pair in zip(sightings, anchors, strict=True)]
    placed = [(pose, inliers) for pose, inliers in found if pose is not None]
    if not placed:
        pose = blended(anchors[0].camera_to_world, anchors[1].camera_to_world, share)
        return Placement(pose, "interpolated", 0.0)
    pose = placed[0][0] if len(placed) == 1 else blended(placed[0][0], placed[1][0], share)
    return Placement(pose, "placed", min(inliers for _, inliers in placed))


def _placed_by(
    sighting: Sighting, anchor: Anchor, rays: Rays, tolerance: float
) -> tuple[NDArray[np.float64] | None, float]:
    """Pose of a frame by the corners of one keyframe, and the share of them that agrees; None and 0 if too few do."""
    x, y = sighting.there.astype(np.int64).T
    depth = anchor.depth[y, x].astype(np.float64)
    trusted = depth > 0
    if anchor.camera_to_world is None or trusted.sum() < FEWEST_CORNERS:
        return None, 0.0
    here, there = (rays(pixels[trusted].astype(np.float64)) for pixels in (sighting.here, sighting.there))
    points = depth[trusted, None] * np.column_stack([there, np.ones(len(there))])
    found, rotation, translation, inliers = cv2.solvePnPRansac(
        points, here, _CAMERA, None, iterationsCount=_ITERATIONS, reprojectionError=tolerance
    )
    if not found or inliers is None or len(inliers) < max(FEWEST_CORNERS, LEAST_SHARE * len(points)):
        return None, 0.0
    agree = inliers[:, 0]
    rotation, translation = cv2.solvePnPRefineLM(points[agree], here[agree], _CAMERA, None, rotation, translation)
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(rotation)[0].T
    motion[:3, 3] = -motion[:3, :3] @ translation[:, 0]
    return (anchor.camera_to_world @ motion, len(agree) / len(points)) if np.isfinite(motion).all() else (None, 0.0)


def blended(
    first: NDArray[np.float64] | None, second: NDArray[np.float64] | None, share: float
) -> NDArray[np.float64] | None:
    """(4, 4) pose between two, by the share of the way from the first to the second; None where one is None."""
    if first is None or second is None:
        return None
    pose = np.eye(4)
    pose[:3, :3] = Slerp([0, 1], Rotation.from_matrix([first[:3, :3], second[:3, :3]]))(share).as_matrix()
    pose[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
    return pose
