"""Bundle adjustment of cameras and points, with triangulation in between; pycolmap and Ceres do the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.refinement.backend import (
    camera_from_colmap,
    colmap_camera,
    pose_from_rigid,
    pycolmap_module,
    rigid_from_pose,
)
from common.refinement.features import Features
from common.refinement.matching import PairMatches
from common.refinement.placement import FeatureGeometry, Placement
from common.refinement.projection import pixel_unit
from common.refinement.rotations import largest_part
from common.refinement.settings import AdjustmentSettings
from common.refinement.track_building import Observations
from common.refinement.types import Camera, Tracks

_COARSE = ((20.0, 60.0, 0.1), (5.0, 20.0, 0.5), (2.0, 8.0, 1.0))
"""Scale of the Cauchy loss, then largest error in pixels and smallest angle in degrees of what stays, of the rounds
that start from the network's points."""
_FOCAL_RANGE = (0.6, 1.7)  # of the adjusted focal length over its start
_MAX_K1 = 0.6


@dataclass
class Model:
    """Cameras, poses and points while they are adjusted. A frame's image has its number plus one, a camera likewise."""

    reconstruction: Any
    cameras: list[Camera]
    """Before adjustment."""
    frame_camera: list[int]

    def copy(self) -> Model:
        """An independent model."""
        return Model(pycolmap_module().Reconstruction(self.reconstruction), self.cameras, self.frame_camera)

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
    frames = np.flatnonzero(np.isfinite(poses).all(axis=(1, 2)))
    for camera in sorted({frame_camera[frame] for frame in frames}):
        reconstruction.add_camera_with_trivial_rig(colmap_camera(cameras[camera], camera + 1))
    for frame in frames:
        image = pycolmap.Image(
            name=str(frame),
            camera_id=frame_camera[frame] + 1,
            image_id=int(frame) + 1,
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
    for start, end in zip(bounds[:-1], bounds[1:]):
        known = world[start:end][np.isfinite(world[start:end]).all(axis=1)]
        if len(known):
            elements = [
                pycolmap.TrackElement(int(f) + 1, int(r)) for f, r in zip(frame[start:end], row[start:end])
            ]
            model.reconstruction.add_point3D(np.median(known, axis=0), pycolmap.Track(elements))


def adjust_coarse(model: Model, settings: AdjustmentSettings, threads: int) -> None:
    """Adjust poses and points from the network's points, with ever smaller errors allowed; cameras stay."""
    unit = _unit(model)
    for scale, error, angle in _COARSE:
        solve(model, settings, threads, loss="CAUCHY", scale=scale * unit, focal=False, radial=False)
        _filter(model, error * unit, angle)


def correspondence_graph(features: Sequence[Features], matches: Sequence[PairMatches]) -> Any:
    """pycolmap's graph of the matches, for triangulation."""
    pycolmap = pycolmap_module()
    graph = pycolmap.CorrespondenceGraph()
    for frame, feature in enumerate(features):
        graph.add_image(frame + 1, len(feature))
    for pair in matches:
        geometry = pycolmap.TwoViewGeometry()
        geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
        geometry.inlier_matches = pair.rows.astype(np.uint32)
        graph.add_two_view_geometry(pair.first + 1, pair.second + 1, geometry)
    graph.finalize()
    return graph


def triangulate(
    model: Model, features: Sequence[Features], graph: Any, settings: AdjustmentSettings, seed: int
) -> Model:
    """A new model: the same cameras and poses, and points triangulated from all matches."""
    pycolmap = pycolmap_module()
    count = len(features)
    fresh = build_model(model.adjusted_cameras(), model.frame_camera, features, model.poses(count))
    fresh.cameras = model.cameras
    images = sorted(fresh.reconstruction.images)
    manager = pycolmap.ObservationManager(fresh.reconstruction, graph)
    triangulator = pycolmap.IncrementalTriangulator(graph, fresh.reconstruction, manager)
    options = pycolmap.IncrementalTriangulatorOptions()
    options.random_seed = seed
    options.min_angle = settings.min_angle
    options.ignore_two_view_tracks = len(images) > 3
    options.create_max_angle_error = options.continue_max_angle_error = 3.0
    for image in images:
        triangulator.triangulate_image(options, image)
    triangulator.complete_all_tracks(options)
    triangulator.merge_all_tracks(options)
    return fresh


def adjust_fine(
    model: Model,
    features: Sequence[Features],
    graph: Any,
    settings: AdjustmentSettings,
    *,
    threads: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> Model:
    """Rounds of triangulation and adjustment, focal lengths free.

    Focal lengths that leave any plausible range are put back, and stay.
    """
    unit, free = _unit(model), True
    for number in range(settings.rounds):
        model = triangulate(model, features, graph, settings, seed)
        _filter(model, 4 * settings.max_error * unit, settings.min_angle)
        before = model.copy()
        solve(model, settings, threads, loss="SOFT_L1", scale=unit, focal=free, radial=False)
        if free and not plausible(model):
            model, free = before, False
            solve(model, settings, threads, loss="SOFT_L1", scale=unit, focal=False, radial=False)
        last = number == settings.rounds - 1
        _filter(model, (1 if last else 2) * settings.max_error * unit, settings.min_angle)
        if progress is not None:
            progress((number + 1) / settings.rounds)
    solve(model, settings, threads, loss="SOFT_L1", scale=unit, focal=free, radial=False)
    return model


def plausible(model: Model) -> bool:
    """Focal lengths and radial terms are near enough to where they started to be believed."""
    for before, after in zip(model.cameras, model.adjusted_cameras()):
        if not _FOCAL_RANGE[0] < after.focal / before.focal < _FOCAL_RANGE[1] or abs(after.k1) > _MAX_K1:
            return False
    return True


def solve(
    model: Model, settings: AdjustmentSettings, threads: int, *, loss: str, scale: float, focal: bool, radial: bool
) -> None:
    """One bundle adjustment in place.

    Args:
        model: to adjust; known cameras stay.
        settings: iterations.
        threads: of the solver.
        loss: name of pycolmap's robust loss.
        scale: its scale in pixels.
        focal: focal lengths are free.
        radial: radial terms are free.
    """
    pycolmap = pycolmap_module()
    reconstruction = model.reconstruction
    if reconstruction.num_points3D() == 0 or reconstruction.num_reg_images() < 2:
        return
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.refine_focal_length = focal
    options.refine_extra_params = radial
    options.ceres.loss_function_type = getattr(pycolmap.LossFunctionType, loss)
    options.ceres.loss_function_scale = scale
    options.ceres.solver_options.max_num_iterations = settings.max_iterations
    options.ceres.solver_options.num_threads = threads
    options.ceres.solver_options.function_tolerance = 1e-4
    config = pycolmap.BundleAdjustmentConfig()
    for image in reconstruction.images.values():
        if image.has_pose and image.num_points3D > 0:
            config.add_image(image.image_id)
    for index, camera in enumerate(model.cameras):
        if camera.known and index + 1 in reconstruction.cameras:
            config.set_constant_cam_intrinsics(index + 1)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, config, reconstruction).solve()


def connected_frames(model: Model, count: int, least: int) -> NDArray[np.bool_]:
    """(count,) bool: the largest set of frames that hang together by at least `least` shared points each."""
    frames, points = [], []
    for identifier, point in model.reconstruction.points3D.items():
        for element in point.track.elements:
            frames.append(element.image_id - 1)
            points.append(identifier)
    if not frames:
        return np.zeros(count, dtype=bool)
    from_frame, from_point = np.array(frames), np.unique(points, return_inverse=True)[1]
    shared = shared_points(from_frame, from_point, count)
    first, second = np.nonzero(np.triu(shared >= least, 1))
    return largest_part(count, list(zip(first.tolist(), second.tolist())))


def shared_points(frame: NDArray[np.int64], point: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count, count) number of points that two frames both see."""
    from scipy.sparse import coo_matrix

    seen = coo_matrix((np.ones(len(frame), dtype=np.int64), (frame, point)), shape=(count, int(point.max()) + 1)).tocsr()
    return (seen @ seen.T).toarray()


def tracks_of(model: Model, frames: NDArray[np.bool_]) -> Tracks:
    """Points and observations of a model in some of its frames."""
    points, frame, xy, index = [], [], [], []
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


def _filter(model: Model, error: float, angle: float) -> None:
    manager = pycolmap_module().ObservationManager(model.reconstruction)
    manager.filter_observations_with_negative_depth()
    manager.filter_all_points3D(error, angle)


def _unit(model: Model) -> float:
    return max(pixel_unit(camera) for camera in model.cameras)
