"""Cameras, poses and points in pycolmap's hands, while they are adjusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from common.geometry.colmap_backend import pycolmap_module
from common.refinement.cameras.placement import FeatureGeometry, Placement
from common.refinement.cameras.posed import posed
from common.refinement.cameras.rotations import largest_part
from common.refinement.matching.backend import camera_from_colmap, colmap_camera, pose_from_rigid, rigid_from_pose
from common.refinement.matching.features import Features
from common.refinement.matching.track_building import Observations
from common.refinement.types import Camera, Tracks


@dataclass(frozen=True)
class Anchors:
    """Measured poses that adjustment keeps to."""

    camera_to_world: NDArray[np.float64]
    """(N, 4, 4), NaN where a frame has none."""
    sigma: float | None
    """Standard deviation of their positions; None: they do not move."""


@dataclass
class Model:
    """Cameras, poses and points while they are adjusted. A frame's image has its number plus one, a camera likewise."""

    reconstruction: Any
    cameras: list[Camera]
    """Before adjustment."""
    frame_camera: list[int]
    anchors: Anchors | None = None
    """None where no pose was measured."""

    def copy(self) -> Model:
        """An independent model."""
        return replace(self, reconstruction=pycolmap_module().Reconstruction(self.reconstruction))

    def poses(self, count: int) -> NDArray[np.float64]:
        """(count, 4, 4) camera-to-world; NaN for frames that are not in the model."""
        poses = np.full((count, 4, 4), np.nan)
        for image in self.reconstruction.images.values():
            if image.has_pose:
                poses[image.image_id - 1] = pose_from_rigid(image.cam_from_world())
        return poses

    def adjusted_cameras(self) -> list[Camera]:
        """All cameras; those without a frame in the model stay as they were."""
        present = self.reconstruction.cameras
        return [
            camera_from_colmap(present[index + 1], camera) if index + 1 in present else camera
            for index, camera in enumerate(self.cameras)
        ]


def build_model(
    cameras: Sequence[Camera],
    frame_camera: Sequence[int],
    features: Sequence[Features],
    poses: NDArray[np.float64],
) -> Model:
    """A model without points.

    Args:
        cameras: physical cameras.
        frame_camera: camera of each of N frames.
        features: of N frames.
        poses: (N, 4, 4) camera-to-world; frames with NaN are left out.
    """
    pycolmap = pycolmap_module()
    reconstruction = pycolmap.Reconstruction()
    frames = np.flatnonzero(posed(poses)).tolist()
    for camera in sorted({frame_camera[frame] for frame in frames}):
        reconstruction.add_camera_with_trivial_rig(colmap_camera(cameras[camera], camera + 1))
    for frame in frames:
        image = pycolmap.Image(
            name=str(frame),
            camera_id=frame_camera[frame] + 1,
            image_id=frame + 1,
            keypoints=np.ascontiguousarray(features[frame].xy),
        )
        reconstruction.add_image_with_trivial_frame(image, rigid_from_pose(poses[frame]))
    return Model(reconstruction, list(cameras), list(frame_camera))


def add_network_points(
    model: Model, observations: Observations, geometry: Sequence[FeatureGeometry], placement: Placement
) -> None:
    """Add a point for every track that the network has a depth for: the median of where its frames put it."""
    pycolmap = pycolmap_module()
    frame, row = observations.frame, observations.row
    depth = np.array([geometry[f].depth[r] for f, r in zip(frame, row)])
    rays = np.array([geometry[f].rays[r] for f, r in zip(frame, row)]).reshape(-1, 3)
    local = rays * (depth * placement.scale[frame])[:, None]
    poses = placement.camera_to_world[frame]
    world = np.einsum("oij,oj->oi", poses[:, :3, :3], local) + poses[:, :3, 3]
    bounds = np.searchsorted(observations.track, np.arange(observations.count + 1))
    for start, end in pairwise(bounds):
        known = world[start:end][np.isfinite(world[start:end]).all(axis=1)]
        if len(known):
            elements = [pycolmap.TrackElement(int(f) + 1, int(r)) for f, r in zip(frame[start:end], row[start:end])]
            model.reconstruction.add_point3D(np.median(known, axis=0), pycolmap.Track(elements))


def connected_frames(model: Model, count: int, least: int) -> NDArray[np.bool_]:
    """(count,) bool: the largest set of frames that hang together by at least `least` shared points each."""
    frames, points = [], []
    for identifier, point in model.reconstruction.points3D.items():
        for element in point.track.elements:
            frames.append(element.image_id - 1)
            points.append(identifier)
    if not frames:
        return np.zeros(count, dtype=bool)
    index = np.unique(points, return_inverse=True)[1]
    seen = coo_matrix((np.ones(len(frames), dtype=np.int64), (frames, index)), shape=(count, index.max() + 1)).tocsr()
    shared = (seen @ seen.T).tocoo()
    tied = (shared.data >= least) & (shared.row < shared.col)
    return largest_part(count, list(zip(shared.row[tied].tolist(), shared.col[tied].tolist())))


def tracks_of(model: Model, frames: NDArray[np.bool_]) -> Tracks:
    """Points and observations of a model in some of its frames."""
    points: list[NDArray[np.float64]] = []
    frame, xy, index = [], [], []
    for point in model.reconstruction.points3D.values():
        seen = [element for element in point.track.elements if frames[element.image_id - 1]]
        if len(seen) < 2:
            continue
        for element in seen:
            frame.append(element.image_id - 1)
            xy.append(model.reconstruction.images[element.image_id].points2D[element.point2D_idx].xy)
            index.append(len(points))
        points.append(point.xyz)
    if not points:
        return Tracks.empty()
    return Tracks(
        torch.from_numpy(np.array(points)).float(),
        torch.tensor(frame),
        torch.from_numpy(np.array(xy)).float(),
        torch.tensor(index),
    )
