"""Distance of matches from the epipolar lines of given cameras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from common.refinement.cameras.posed import posed
from common.refinement.matching.features import Features
from common.refinement.matching.pair_matching import PairMatches
from common.refinement.projection import working_rays
from common.refinement.types import Camera

_NO_BASELINE = 1e-6


def epipolar_errors(
    features: Sequence[Features],
    matches: Sequence[PairMatches],
    cameras: Sequence[Camera],
    poses: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Distance of every match from its epipolar lines, in pixels.

    Args:
        features: of N frames.
        matches: pairs between frames with a pose; others are left out.
        cameras: of the N frames.
        poses: (N, 4, 4) camera-to-world, NaN where a frame has none.

    Returns:
        (M,) mean of the distances in the two pictures, in working pixels without distortion. Where two cameras stand on
        one point there are no lines: the distance is then that from the turned point.
    """
    known = posed(poses)
    errors = [
        _pair_errors(features, pair, cameras, poses) for pair in matches if known[pair.first] and known[pair.second]
    ]
    return np.concatenate(errors) if errors else np.zeros(0)


def _pair_errors(
    features: Sequence[Features], pair: PairMatches, cameras: Sequence[Camera], poses: NDArray[np.float64]
) -> NDArray[np.float64]:
    first, second = cameras[pair.first], cameras[pair.second]
    x_first = _rays(first, features[pair.first].xy[pair.rows[:, 0]])
    x_second = _rays(second, features[pair.second].xy[pair.rows[:, 1]])
    pose_first, pose_second = poses[pair.first], poses[pair.second]
    rotation = pose_second[:3, :3].T @ pose_first[:3, :3]
    shift = pose_second[:3, :3].T @ (pose_first[:3, 3] - pose_second[:3, 3])
    length = np.linalg.norm(shift)
    if length < _NO_BASELINE:
        turned = x_first @ rotation.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.linalg.norm(turned[:, :2] / turned[:, 2:] - x_second[:, :2], axis=1) * second.focal
    x, y, z = shift / length
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    line_second, line_first = x_first @ essential.T, x_second @ essential
    residual = np.abs((x_second * line_second).sum(axis=1))
    distances = [
        camera.focal * residual / np.maximum(np.linalg.norm(line[:, :2], axis=1), 1e-12)
        for camera, line in ((first, line_first), (second, line_second))
    ]
    return (distances[0] + distances[1]) / 2


def _rays(camera: Camera, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    return working_rays(camera, torch.from_numpy(xy)).numpy()
