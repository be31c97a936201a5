"""Positions of frames whose orientation is known, by the network's depth: linear, without a first pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import spsolve

from common.refinement.cameras.rotations import RelativePose
from common.refinement.matching.features import Features
from common.refinement.projection import working_rays
from common.refinement.settings import PlacementSettings
from common.refinement.types import Camera, Picture, Prediction

_FLOOR = 0.05  # relative error of the network's depth that is never held against a match


@dataclass(frozen=True)
class FeatureGeometry:
    """Features of a frame in camera coordinates."""

    rays: NDArray[np.float64]
    """(K, 3) with z = 1."""
    depth: NDArray[np.float64]
    """(K,) the network's depth there; NaN where it has none."""


@dataclass(frozen=True)
class Placement:
    """Camera poses and depth scales of the frames."""

    camera_to_world: NDArray[np.float64]
    """(N, 4, 4), NaN for frames without orientation or matches."""
    scale: NDArray[np.float64]
    """(N,) factor on the network's depth of each frame."""
    residual: float
    """Median distance between the two points of a match over their depth."""


def sample_depth(
    xy: NDArray[np.float64], picture: Picture, depth: torch.Tensor, valid: torch.Tensor
) -> NDArray[np.float64]:
    """The network's depth at working pixels.

    Args:
        xy: (K, 2) working pixels.
        picture: for the way to the network's grid.
        depth: (H, W) along the optical axis.
        valid: (H, W) bool.

    Returns:
        (K,) depth of the nearest pixel of the grid; NaN outside and where it is not valid.
    """
    pixels = torch.from_numpy(xy)
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
    network = homogeneous @ picture.network_from_working.to(torch.float64).T
    x, y = (network[:, :2] / network[:, 2:]).round().long().unbind(dim=1)
    height, width = depth.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    sampled = depth[y, x].double()
    good = inside & valid[y, x] & sampled.isfinite() & (sampled > 0)
    return torch.where(good, sampled, torch.nan).numpy()


def all_feature_geometry(
    features: Sequence[Features], cameras: Sequence[Camera], pictures: Sequence[Picture], prediction: Prediction
) -> list[FeatureGeometry]:
    """Rays and depths of the features of N frames; `cameras` are those of the frames."""
    return [
        FeatureGeometry(
            working_rays(cameras[frame], torch.from_numpy(feature.xy)).numpy(),
            sample_depth(feature.xy, pictures[frame], prediction.depth[frame], prediction.valid[frame]),
        )
        for frame, feature in enumerate(features)
    ]


def place(
    rotations: NDArray[np.float64],
    poses: Sequence[RelativePose],
    geometry: Sequence[FeatureGeometry],
    settings: PlacementSettings,
) -> Placement:
    """Positions c and one scale s per frame such that matched pixels are one point.

    s_a R_a p_a + c_a = s_b R_b p_b + c_b for every match, p the network's point along the feature's ray. No pair is
    degenerate, since the depth is known up to the scale; that is solved by reweighted least squares (Cauchy weights).

    Args:
        rotations: (N, 3, 3) camera-to-world, NaN where unknown.
        poses: pairs and their matches.
        geometry: of the features of N frames.
        settings: number of matches and iterations.
    """
    first, second, vectors_first, vectors_second, depth = _equations(rotations, poses, geometry, settings)
    count = len(rotations)
    poses_out, scale = np.full((count, 4, 4), np.nan), np.full(count, np.nan)
    present = np.unique(np.concatenate([first, second]))
    if not len(present):
        return Placement(poses_out, scale, float("nan"))
    index = np.full(count, -1)
    index[present] = np.arange(len(present))
    matrix = _matrix(index[first], index[second], vectors_first, vectors_second, len(present))
    weights, residual = np.ones(len(first)), np.zeros(len(first))
    solution = np.zeros(4 * len(present))
    for _ in range(settings.iterations):
        solution = _solve(matrix, weights / depth**2, len(present), settings.scale_prior)
        residual = np.linalg.norm((matrix @ solution).reshape(-1, 3), axis=1) / depth
        weights = 1 / (1 + (residual / (_FLOOR + np.median(residual))) ** 2)
    poses_out[present] = np.eye(4)
    poses_out[present, :3, :3] = rotations[present]
    poses_out[present, :3, 3] = solution[len(present) :].reshape(-1, 3)
    scale[present] = solution[: len(present)]
    return Placement(poses_out, scale, float(np.median(residual)))


def _equations(
    rotations: NDArray[np.float64],
    poses: Sequence[RelativePose],
    geometry: Sequence[FeatureGeometry],
    settings: PlacementSettings,
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Frames, points relative to their cameras in world axes, and mean depth of all used matches."""
    firsts, seconds, left, right, depths = [], [], [], [], []
    for pose in poses:
        a, b = geometry[pose.first], geometry[pose.second]
        rows = pose.rows[np.isfinite(a.depth[pose.rows[:, 0]]) & np.isfinite(b.depth[pose.rows[:, 1]])]
        rows = rows[:: -(-len(rows) // settings.matches_per_pair)] if len(rows) else rows
        depth_a, depth_b = a.depth[rows[:, 0]], b.depth[rows[:, 1]]
        left.append((a.rays[rows[:, 0]] * depth_a[:, None]) @ rotations[pose.first].T)
        right.append((b.rays[rows[:, 1]] * depth_b[:, None]) @ rotations[pose.second].T)
        firsts.append(np.full(len(rows), pose.first))
        seconds.append(np.full(len(rows), pose.second))
        depths.append((depth_a + depth_b) / 2)
    if not firsts:
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    return tuple(np.concatenate(part) for part in (firsts, seconds, left, right, depths))  # type: ignore[return-value]


def _matrix(first: NDArray, second: NDArray, left: NDArray, right: NDArray, count: int) -> csr_matrix:
    """(3 M, 4 count): scales first, then positions; three rows a match, zero on the right-hand side."""
    row = np.arange(3 * len(first))
    axis = np.tile(np.arange(3), len(first))
    first, second = np.repeat(first, 3), np.repeat(second, 3)
    one = np.ones(len(row))
    columns = np.concatenate([first, second, count + 3 * first + axis, count + 3 * second + axis])
    values = np.concatenate([left.ravel(), -right.ravel(), one, -one])
    return csr_matrix((values, (np.tile(row, 4), columns)), shape=(len(row), 4 * count))


def _solve(matrix: csr_matrix, weights: NDArray, count: int, scale_prior: float) -> NDArray[np.float64]:
    """Weighted least squares; scales have a mean of one and a weak wish to be equal, the first frame is the origin.

    Without the mean, noise in depth would shrink everything, as points at the origin agree best. The solution under a
    linear constraint is the unconstrained one with the constraint's normal on the right-hand side, scaled to meet it.
    """
    weighted = matrix.T @ diags(np.repeat(weights, 3)) @ matrix
    largest = max(float(weighted.diagonal().max()), 1e-12)
    prior = np.zeros(4 * count)
    prior[:count] = scale_prior**2 * len(weights) / count * max(float(np.median(weights)), 1e-12)
    prior[count : count + 3] = 1e4 * largest
    prior[count + 3 :] = 1e-9 * largest
    normal = np.zeros(4 * count)
    normal[:count] = largest
    solution = spsolve((weighted + diags(prior)).tocsc(), normal)
    return solution / solution[:count].mean()
