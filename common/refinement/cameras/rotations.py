"""Relative poses of pairs, and from their rotations one orientation for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from common.geometry.colmap_backend import pycolmap_module
from common.refinement.matching.backend import colmap_camera, two_view_options
from common.refinement.matching.features import Features
from common.refinement.matching.pair_matching import PairMatches
from common.refinement.projection import pixel_unit
from common.refinement.settings import MatchingSettings, RotationSettings
from common.refinement.types import Camera


@dataclass(frozen=True)
class RelativePose:
    """Relative pose of the two pictures of a pair."""

    first: int
    second: int
    rotation: NDArray[np.float64]
    """(3, 3): x_second = rotation x_first + translation."""
    rows: NDArray[np.int64]
    """(M, 2) features that agree."""
    parallax: float
    """Median angle between the rays of matched points, degrees; 0 where the camera only turned."""


def relative_poses(
    features: Sequence[Features],
    cameras: Sequence[Camera],
    matches: Sequence[PairMatches],
    settings: MatchingSettings,
    *,
    threads: int = 1,
    seed: int = 0,
) -> list[RelativePose]:
    """Relative pose of every pair whose matches an essential matrix or a homography explains.

    Args:
        features: of N pictures.
        cameras: of the N pictures; their focal lengths are believed.
        matches: verified pairs.
        settings: thresholds of verification.
        threads: pairs at a time.
        seed: of the random samples.
    """
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        poses = pool.map(lambda pair: _relative_pose(features, cameras, pair, settings, seed), matches)
        return [pose for pose in poses if pose is not None]


def _relative_pose(
    features: Sequence[Features], cameras: Sequence[Camera], pair: PairMatches, settings: MatchingSettings, seed: int
) -> RelativePose | None:
    pycolmap = pycolmap_module()
    first, second = cameras[pair.first], cameras[pair.second]
    # Half of the verification's error: matches along the line but off the point were kept there, and a rotation shows.
    options = two_view_options(
        settings.max_error / 2 * max(pixel_unit(first), pixel_unit(second)), settings.min_matches, seed
    )
    options.compute_relative_pose = True
    index = np.arange(len(pair.rows), dtype=np.uint32)
    geometry = pycolmap.estimate_calibrated_two_view_geometry(
        colmap_camera(first, 1),
        np.ascontiguousarray(features[pair.first].xy[pair.rows[:, 0]]),
        colmap_camera(second, 2),
        np.ascontiguousarray(features[pair.second].xy[pair.rows[:, 1]]),
        np.stack([index, index], axis=1),
        options,
    )
    kept = np.asarray(geometry.inlier_matches)
    if geometry.cam2_from_cam1 is None or len(kept) < settings.min_matches:
        return None
    rotation = np.array(geometry.cam2_from_cam1.rotation.matrix())
    if not np.isfinite(rotation).all():
        return None
    parallax = float(np.degrees(max(geometry.tri_angle, 0.0)))
    return RelativePose(pair.first, pair.second, rotation, pair.rows[kept[:, 0].astype(np.int64)], parallax)


def average_rotations(
    count: int, poses: Sequence[RelativePose], settings: RotationSettings, seed: int = 0
) -> tuple[NDArray[np.float64], list[RelativePose]]:
    """Orientations of all frames of the largest connected part (Chatterjee and Govindu 2013, as COLMAP has it).

    Args:
        count: N frames.
        poses: of pairs.
        settings: largest error of a pair that is kept.
        seed: of the solver.

    Returns:
        (N, 3, 3) camera-to-world rotations in some world, NaN outside the part, and the pairs that agree with them.
    """
    rotations = np.full((count, 3, 3), np.nan)
    part = largest_part(count, [(pose.first, pose.second) for pose in poses])
    inside = [pose for pose in poses if part[pose.first] and part[pose.second]]
    if not inside:
        return rotations, []
    for frame, rotation in _solve(np.flatnonzero(part), inside, settings, seed).items():
        rotations[frame] = rotation
    agreeing = [pose for pose in inside if _error(rotations, pose) <= settings.max_error]
    part = largest_part(count, [(pose.first, pose.second) for pose in agreeing])
    rotations[~part] = np.nan
    return rotations, [pose for pose in agreeing if part[pose.first] and part[pose.second]]


def largest_part(count: int, edges: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """(count,) bool: nodes of the largest connected part; all False without edges."""
    if not edges:
        return np.zeros(count, dtype=bool)
    first, second = np.array(edges).T
    graph = coo_matrix((np.ones(len(edges)), (first, second)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return labels == np.bincount(labels).argmax()


def _error(rotations: NDArray[np.float64], pose: RelativePose) -> float:
    """Degrees between a pair's own rotation and that of the averaged frames; NaN where a frame has none."""
    expected = rotations[pose.second].T @ rotations[pose.first]
    cosine = (np.trace(pose.rotation @ expected.T) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _solve(
    frames: NDArray[np.int64], poses: Sequence[RelativePose], settings: RotationSettings, seed: int
) -> dict[int, NDArray[np.float64]]:
    """Camera-to-world rotations by pycolmap's averaging; a dictionary, as it may drop frames."""
    pycolmap = pycolmap_module()
    reconstruction, graph = pycolmap.Reconstruction(), pycolmap.PoseGraph()
    reconstruction.add_camera_with_trivial_rig(
        pycolmap.Camera(model="SIMPLE_PINHOLE", width=2, height=2, params=[1.0, 1.0, 1.0], camera_id=1)
    )
    for frame in frames:
        image = pycolmap.Image(name=str(frame), camera_id=1, image_id=int(frame) + 1)
        reconstruction.add_image_with_trivial_frame(image)
    for pose in poses:
        edge = pycolmap.PoseGraphEdge(pycolmap.Rigid3d(pycolmap.Rotation3d(pose.rotation), np.zeros(3)))
        edge.num_matches = len(pose.rows)
        graph.add_edge(pose.first + 1, pose.second + 1, edge)
    options = pycolmap.RotationEstimatorOptions()
    options.random_seed = seed
    options.max_rotation_error_deg = settings.max_error
    if not pycolmap.run_rotation_averaging(options, graph, reconstruction, []):
        return {}
    return {
        image.image_id - 1: np.array(image.cam_from_world().rotation.matrix()).T
        for image in reconstruction.images.values()
        if image.has_pose
    }
