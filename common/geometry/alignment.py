"""Alignment of corresponding point sets: least squares, RANSAC and ICP.

The chain of `align_to_ground_truth` is the published evaluation of SLAM3R (arXiv 2412.09401, Replica): a similarity
by RANSAC, then a rigid point-to-plane ICP. The scale comes from three pairs and no later step corrects it, so scores
depend on the seed: report it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.geometry.transforms import make_transform

_DRAW = 20_000  # number of random pairs on which RANSAC first scores all hypotheses


@dataclass(frozen=True)
class AlignmentResult:
    """Similarity from the prediction to the ground truth."""

    transform: NDArray[np.float64]
    """(4, 4): truth = transform @ prediction."""
    ransac_transform: NDArray[np.float64]
    """(4, 4): the similarity before ICP."""
    median_residual: float
    """Median pair distance after RANSAC, unit of the truth."""
    scale: float
    """Scale of the transform, truth unit per prediction unit."""
    seed: int
    """Seed of the RANSAC draws."""


def umeyama(source: Tensor, target: Tensor, weights: Tensor | None = None, with_scale: bool = True) -> Tensor:
    """Least-squares similarity (or rigid transform) between corresponding points (Umeyama 1991), batched.

    Args:
        source: (*B, N, 3).
        target: (*B, N, 3), corresponding to the source.
        weights: (*B, N), not negative; equal where None.
        with_scale: estimate the scale too; otherwise it is one.

    Returns:
        (*B, 4, 4) with target = transform @ source; not finite where the weights sum to zero.
    """
    weights = torch.ones_like(source[..., 0]) if weights is None else weights
    weights = (weights / weights.sum(dim=-1, keepdim=True))[..., None]
    source_mean = (weights * source).sum(dim=-2, keepdim=True)
    target_mean = (weights * target).sum(dim=-2, keepdim=True)
    source, target = source - source_mean, target - target_mean
    covariance = (weights * target).mT @ source
    solvable = covariance.isfinite().all(dim=(-2, -1))
    left, singular, right = torch.linalg.svd(torch.where(solvable[..., None, None], covariance, 0))
    signs = torch.ones_like(singular)
    signs[..., 2] = torch.linalg.det(left).sign() * torch.linalg.det(right).sign()
    rotation = (left * signs[..., None, :]) @ right
    scale = torch.ones_like(singular[..., 0])
    if with_scale:
        scale = (singular * signs).sum(dim=-1) / (weights * source.square()).sum(dim=(-2, -1))
    linear = torch.where(solvable[..., None, None], scale[..., None, None] * rotation, torch.nan)
    return make_transform(linear, (target_mean.mT - linear @ source_mean.mT)[..., 0])


def median_similarity(source: NDArray, target: NDArray) -> NDArray[np.float64]:
    """Similarity about coordinate-wise medians, with the ratio of median norms as scale.

    The variant of Umeyama that the published evaluation uses inside RANSAC. Coordinate-wise medians do not rotate with
    the points, so the result is not exact even for exact pairs: use `umeyama` for anything but that evaluation.

    Args:
        source: (*B, N, 3).
        target: (*B, N, 3), corresponding.

    Returns:
        (*B, 4, 4) with target = transform @ source.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_centre = np.median(source, axis=-2, keepdims=True)
    target_centre = np.median(target, axis=-2, keepdims=True)
    source, target = source - source_centre, target - target_centre
    scale = np.median(np.linalg.norm(target, axis=-1), axis=-1) / np.median(np.linalg.norm(source, axis=-1), axis=-1)
    left, _, right = np.linalg.svd(np.swapaxes(target, -1, -2) @ source)
    signs = np.ones(left.shape[:-1])
    signs[..., 2] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    linear = scale[..., None, None] * ((left * signs[..., None, :]) @ right)
    transform = np.zeros((*linear.shape[:-2], 4, 4))
    transform[..., :3, :3] = linear
    transform[..., :3, 3] = target_centre[..., 0, :] - np.einsum("...ij,...j->...i", linear, source_centre[..., 0, :])
    transform[..., 3, 3] = 1
    return transform


def ransac_similarity(
    source: NDArray, target: NDArray, hypotheses: int = 512, sample_size: int = 3, seed: int = 42
) -> tuple[NDArray[np.float64], float]:
    """Similarity with the least median residual among `median_similarity` of random samples; not refined.

    Args:
        source: (N, 3).
        target: (N, 3), corresponding.
        hypotheses: number of samples.
        sample_size: pairs in a sample.
        seed: seed of Python's random generator.

    Returns:
        The (4, 4) transform and its median residual over all pairs, unit of the target.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    generator = random.Random(seed)
    samples = np.array([generator.sample(range(len(source)), sample_size) for _ in range(hypotheses)])
    with np.errstate(divide="ignore", invalid="ignore"):  # a sample may hold coincident points
        transforms = median_similarity(source[samples], target[samples])
    transforms = transforms[np.isfinite(transforms).all(axis=(1, 2))]
    if len(transforms) == 0:
        raise ValueError("no sample of pairs determines a similarity")
    chosen = _contenders(transforms, source, target, seed)
    medians = _median_residuals(transforms[chosen], source, target)
    best = int(np.argmin(medians))
    return transforms[chosen[best]], float(medians[best])


def _contenders(transforms: NDArray, source: NDArray, target: NDArray, seed: int) -> NDArray[np.int64]:
    """Indices, ascending, of those (K, 4, 4) transforms that may have the least median residual over all pairs.

    Decided on a random subset of n pairs. If fewer than 45 % of the subset are closer than the median residual of a
    good hypothesis, then, except with probability exp(-2 n 0.05^2) = exp(-100) (Hoeffding), so are fewer than half of
    all.
    """
    if len(source) <= _DRAW:
        return np.arange(len(transforms))
    draw = np.random.default_rng(seed).choice(len(source), _DRAW)
    squares = np.stack([_square_residuals(transform, source[draw], target[draw]) for transform in transforms])
    likely = np.median(squares, axis=1).argmin()
    bound = np.median(_square_residuals(transforms[likely], source, target))
    return np.flatnonzero((squares <= bound).mean(axis=1) >= 0.45)


def _median_residuals(transforms: NDArray, source: NDArray, target: NDArray) -> NDArray:
    """(K,) median distances |transform @ source - target| of (K, 4, 4) transforms."""
    return np.sqrt([np.median(_square_residuals(transform, source, target)) for transform in transforms])


def _square_residuals(transform: NDArray, source: NDArray, target: NDArray) -> NDArray:
    """(N,) square distances |transform @ source - target|^2."""
    moved = transform[:3, :3] @ source.T + transform[:3, 3:]
    moved -= target.T
    return np.einsum("cn,cn->n", moved, moved)


def transform_points(transform: NDArray, points: NDArray) -> NDArray:
    """NumPy twin of `transforms.apply_transform` for one (4, 4) transform and (N, 3) points."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def voxel_downsample(points: NDArray, voxel_size: float) -> NDArray[np.float64]:
    """(M, 3) mean point of every occupied voxel of (N, 3) points (Open3D's grid, which starts at the minimum)."""
    return np.asarray(_open3d_cloud(points).voxel_down_sample(voxel_size).points)


def icp_point_to_plane(
    source: NDArray,
    target: NDArray,
    voxel_size: float = 0.01,
    max_distance: float = 0.02,
    normal_radius: float = 0.1,
    normal_neighbours: int = 30,
) -> NDArray[np.float64]:
    """Rigid (4, 4) that moves the source (N, 3) onto the planes of the target (M, 3), metres.

    Both clouds are first reduced to voxels; pairs farther apart than max_distance are ignored.
    """
    import open3d

    clouds = [_open3d_cloud(points).voxel_down_sample(voxel_size) for points in (source, target)]
    search = open3d.geometry.KDTreeSearchParamHybrid(radius=normal_radius, max_nn=normal_neighbours)
    clouds[1].estimate_normals(search)
    registration = open3d.pipelines.registration
    method = registration.TransformationEstimationPointToPlane()
    return np.asarray(registration.registration_icp(*clouds, max_distance, np.eye(4), method).transformation)


def icp_point_to_point(source: NDArray, target: NDArray, max_distance: float = 0.1) -> NDArray[np.float64]:
    """Rigid (4, 4) that moves the source (N, 3) onto the points of the target (M, 3), metres."""
    import open3d

    registration = open3d.pipelines.registration
    method = registration.TransformationEstimationPointToPoint()
    clouds = (_open3d_cloud(source), _open3d_cloud(target))
    return np.asarray(registration.registration_icp(*clouds, max_distance, np.eye(4), method).transformation)


def _open3d_cloud(points: NDArray):
    import open3d

    return open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.asarray(points, np.float64)))


def align_to_ground_truth(prediction: NDArray, truth: NDArray, seed: int = 42) -> AlignmentResult:
    """Similarity from a prediction (N, 3), any unit, to corresponding ground truth (N, 3), metres.

    Steps 1 and 2 of the published evaluation; step 3, a last ICP of the reduced clouds, belongs to the score
    (`common.metrics.pointcloud.score_reconstruction`).
    """
    similarity, median_residual = ransac_similarity(prediction, truth, seed=seed)
    aligned = transform_points(similarity, np.asarray(prediction, np.float64))
    transform = icp_point_to_plane(aligned, truth) @ similarity
    scale = float(np.cbrt(np.linalg.det(transform[:3, :3])))
    return AlignmentResult(transform, similarity, median_residual, scale, seed)
