"""Focal lengths and camera poses from pointmaps: by-products that SLAM3R's method does not need.

Focal lengths: Weiszfeld's algorithm, as DUSt3R (arXiv 2312.14132) and SLAM3R (arXiv 2412.09401) use it. Poses: PnP with
RANSAC from a registered pointmap, or in closed form from a local and a registered pointmap of the same frame. Nothing
here returns an identity pose on failure: failures are explicit.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from common.geometry.alignment import umeyama
from common.geometry.cameras import pixel_grid
from common.geometry.transforms import apply_transform, make_transform, split_similarity


def focal_weiszfeld(
    points: Tensor, principal_point: Tensor | None = None, valid: Tensor | None = None, rounds: int = 10
) -> Tensor:
    """Focal length that minimizes the sum of reprojection distances.

    Args:
        points: (*B, H, W, 3) in the camera's own frame, any unit.
        principal_point: (*B, 2) as (x, y), pixels; (W / 2, H / 2) where None, as published.
        valid: (*B, H, W) bool; all pixels where None.
        rounds: of re-weighting.

    Returns:
        (*B,) focal lengths, pixels; not finite for a frame without a valid pixel.
    """
    offsets, slopes = _offsets_and_slopes(points, principal_point)
    weight = torch.ones_like(offsets[..., 0]) if valid is None else valid.flatten(-2).to(offsets.dtype)
    cross, square = (slopes * offsets).sum(dim=-1), slopes.square().sum(dim=-1)
    focal = (weight * cross).mean(dim=-1) / (weight * square).mean(dim=-1)
    for _ in range(rounds):
        residual = (offsets - focal[..., None, None] * slopes).norm(dim=-1)
        robust = weight / residual.clamp_min(1e-8)
        focal = (robust * cross).mean(dim=-1) / (robust * square).mean(dim=-1)
    return focal


def shared_focal(points: Tensor, principal_point: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
    """One focal length for all frames of a video: the median of the frames' Weiszfeld estimates.

    Args:
        points: (V, H, W, 3), each in its own camera's frame.
        principal_point: (2,) or (V, 2) as (x, y), pixels; (W / 2, H / 2) where None.
        valid: (V, H, W) bool; frames with less than 1 % valid pixels are ignored.

    Returns:
        Scalar, pixels; NaN if no frame gives a positive estimate.
    """
    focals = focal_weiszfeld(points, principal_point, valid)
    usable = focals.isfinite() & (focals > 0)
    if valid is not None:
        usable &= valid.flatten(-2).to(points.dtype).mean(dim=-1) >= 0.01
    return torch.where(usable, focals, torch.nan).nanmedian()


def _pixel_offsets(points: Tensor, principal_point: Tensor | None) -> Tensor:
    height, width = points.shape[-3:-1]
    if principal_point is None:
        principal_point = points.new_tensor([width / 2, height / 2])
    return pixel_grid((height, width), points.device, points.dtype) - principal_point[..., None, None, :]


def _offsets_and_slopes(points: Tensor, principal_point: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pixels relative to the principal point, and (x, y) / z, both (*B, H * W, 2)."""
    offsets = _pixel_offsets(points, principal_point).flatten(-3, -2)
    slopes = (points[..., :2] / points[..., 2:]).nan_to_num(nan=0, posinf=0, neginf=0).flatten(-3, -2)
    return offsets.expand_as(slopes), slopes


@dataclass(frozen=True)
class PnpSettings:
    """Settings of `pose_from_pnp`."""

    reprojection_error: float = 8.0
    """Largest distance of an inlier, pixels (OpenCV's default)."""
    iterations: int = 100
    """RANSAC hypotheses at most."""
    max_pixels: int | None = 4096
    """Pixels drawn at random to keep RANSAC fast; all where None."""
    min_inlier_ratio: float = 0.3
    """Smallest share of inliers that counts as a success."""
    refine: bool = True
    """Refine by Levenberg-Marquardt on the inliers within 3 median errors, whatever `reprojection_error` is."""
    seed: int = 0
    """Seed of the pixel sampling. OpenCV's own draws are fixed."""


@dataclass(frozen=True)
class PnpPose:
    """A pose found by PnP."""

    camera_to_world: Tensor
    """(4, 4) float32."""
    inlier_ratio: float
    """Share of inliers among the pixels used, 0 to 1."""


@dataclass(frozen=True)
class PoseFailure:
    """No pose was found."""

    reason: str


def pose_from_pnp(
    points_world: Tensor, intrinsics: Tensor, valid: Tensor | None = None, settings: PnpSettings | None = None
) -> PnpPose | PoseFailure:
    """Pose of one frame from its registered pointmap, by PnP with RANSAC. Deterministic.

    Args:
        points_world: (H, W, 3).
        intrinsics: (3, 3), pixels.
        valid: (H, W) bool, the confident pixels; all where None.
        settings: see `PnpSettings`.
    """
    settings = settings or PnpSettings()
    finite = points_world.isfinite().all(dim=-1)
    usable = (finite if valid is None else finite & valid).cpu()
    pixels = pixel_grid((points_world.shape[0], points_world.shape[1]), dtype=torch.float64)[usable].numpy()
    points = points_world.detach().cpu().double()[usable].numpy()
    if len(points) < 6:
        return PoseFailure(f"only {len(points)} usable pixels")
    if settings.max_pixels is not None and len(points) > settings.max_pixels:
        chosen = np.random.default_rng(settings.seed).choice(len(points), settings.max_pixels, replace=False)
        points, pixels = points[chosen], pixels[chosen]
    camera = intrinsics.detach().cpu().double().numpy()
    try:
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            points,
            pixels,
            camera,
            None,
            iterationsCount=settings.iterations,
            reprojectionError=settings.reprojection_error,
        )
        if not found or inliers is None:
            return PoseFailure("RANSAC found no pose")
        if settings.refine:
            rotation, translation = _refine_pnp(points, pixels, camera, rotation, translation, inliers[:, 0])
    except cv2.error as error:
        return PoseFailure(f"OpenCV: {error.err or error}")
    return _checked_pose(rotation, translation, len(inliers) / len(points), settings)


def _refine_pnp(points, pixels, camera, rotation, translation, inliers):
    """Least squares on the inliers whose reprojection error is at most three times the median."""
    points, pixels = points[inliers], pixels[inliers]
    projected = cv2.projectPoints(points, rotation, translation, camera, None)[0][:, 0]
    errors = np.linalg.norm(projected - pixels, axis=-1)
    better = errors <= max(3 * float(np.median(errors)), 1e-9)
    if better.sum() < 6:
        return rotation, translation
    return cv2.solvePnPRefineLM(points[better], pixels[better], camera, None, rotation, translation)


def _checked_pose(rotation, translation, inlier_ratio: float, settings: PnpSettings) -> PnpPose | PoseFailure:
    """Camera-to-world of OpenCV's world-to-camera rotation vector and translation, or the reason of failure."""
    if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
        return PoseFailure("the pose is not finite")
    if inlier_ratio < settings.min_inlier_ratio:
        return PoseFailure(f"only {inlier_ratio:.0%} of the pixels agree with the pose")
    camera_from_world = torch.from_numpy(cv2.Rodrigues(rotation)[0])
    world_from_camera = camera_from_world.mT
    centre = -(world_from_camera @ torch.from_numpy(translation).reshape(3))
    return PnpPose(make_transform(world_from_camera, centre).float(), inlier_ratio)


@dataclass(frozen=True)
class PointmapPoses:
    """Poses of frames in closed form, from `poses_from_pointmaps`."""

    camera_to_world: Tensor
    """(*B, 4, 4); NaN where not `found`."""
    scale: Tensor
    """(*B,) world unit per local unit; NaN where not `found`."""
    residual: Tensor
    """(*B,) median distance of the points after alignment, divided by their median distance from the camera."""
    found: Tensor
    """(*B,) bool."""


def poses_from_pointmaps(
    local: Tensor, world: Tensor, confidence: Tensor | None = None, rounds: int = 10, weighted_median: bool = False
) -> PointmapPoses:
    """Pose of each frame from its pointmap in its own camera frame and its registered pointmap.

    world = scale * rotation @ local + translation is solved by weighted least squares (Umeyama), re-weighted in each
    round by a Geman-McClure weight of the residual over the median residual, so outliers lose their influence. It needs
    no intrinsics and also works where PnP is weak (narrow view, flat scene).

    Args:
        local: (*B, H, W, 3), any unit.
        world: (*B, H, W, 3), corresponding.
        confidence: (*B, H, W) weights, not negative, 0 for a pixel to ignore; equal where None.
        rounds: of re-weighting.
        weighted_median: scale the residuals by their confidence-weighted median, for points of very different
            confidence, where many weak points would otherwise decide the scale; slower.
    """
    local, world = local.flatten(-3, -2), world.flatten(-3, -2)
    usable = local.isfinite().all(dim=-1) & world.isfinite().all(dim=-1)
    base = usable.to(local.dtype) if confidence is None else torch.where(usable, confidence.flatten(-2), 0)
    usable = base > 0
    local, world = (torch.where(usable[..., None], points, 0) for points in (local, world))
    weights = base
    for _ in range(rounds):
        distance = (apply_transform(umeyama(local, world, weights), local) - world).norm(dim=-1)
        usual = _weighted_median(distance, base) if weighted_median else _masked_median(distance, usable)
        deviation = usual[..., None].clamp_min(1e-12)
        weights = base / (1 + (distance / (2 * deviation)).square()).square()
    transform = umeyama(local, world, weights)
    distance = (apply_transform(transform, local) - world).norm(dim=-1)
    scale, rotation, translation = split_similarity(transform)
    residual = _masked_median(distance, usable) / (scale * _masked_median(local.norm(dim=-1), usable))
    found = (usable.sum(dim=-1) >= 6) & transform.isfinite().all(dim=(-2, -1)) & (scale > 1e-8)
    pose = torch.where(found[..., None, None], make_transform(rotation, translation), torch.nan)
    return PointmapPoses(pose, torch.where(found, scale, torch.nan), residual, found)


def _masked_median(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, torch.nan).nanmedian(dim=-1).values


def _weighted_median(values: Tensor, weight: Tensor) -> Tensor:
    """(.., N) to (..): the smallest value at or below which half of the weight lies."""
    ordered, order = values.sort(dim=-1)
    below = weight.gather(-1, order).cumsum(dim=-1)
    position = torch.searchsorted(below, below[..., -1:] / 2).clamp_max(values.shape[-1] - 1)
    return ordered.gather(-1, position).squeeze(-1)
