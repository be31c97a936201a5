"""Bundle adjustment of cameras and points, with triangulation in between; pycolmap and Ceres do the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from common.geometry.colmap_backend import pycolmap_module
from common.refinement.cameras.model import Anchors, Model, build_model
from common.refinement.cameras.posed import posed
from common.refinement.matching.features import Features
from common.refinement.matching.pair_matching import PairMatches
from common.refinement.projection import pixel_unit
from common.refinement.settings import AdjustmentSettings

_COARSE = ((20.0, 60.0, 0.1), (5.0, 20.0, 0.5), (2.0, 8.0, 1.0))
"""Scale of the Cauchy loss, then largest error in pixels and smallest angle in degrees of what stays, of the rounds
that start from the network's points."""
_TURNING = 2
"""The round from which on rotations are free. The averaged ones are better than the points at first, and would take up
their errors: the end of a long chain then turns away (GLOMAP holds them too: Pan et al., ECCV 2024)."""
_FOCAL_RANGE = (0.6, 1.7)  # of the adjusted focal length over its start
_MAX_K1 = 0.6
_ALIGNMENT = 5.0  # deviations of a measured position within which it counts when the model is put among them


def adjust_coarse(model: Model, settings: AdjustmentSettings, threads: int) -> None:
    """Adjust poses and points from the network's points, with ever smaller errors allowed; cameras stay."""
    unit = _unit(model)
    for number, (scale, error, angle) in enumerate(_COARSE):
        turn = number >= _TURNING
        solve(model, settings, threads, loss="CAUCHY", scale=scale * unit, focal=False, radial=False, turn=turn)
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
    fresh.cameras, fresh.anchors = model.cameras, model.anchors
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
        model, free = _solve_plausibly(model, settings, threads, unit, free)
        last = number == settings.rounds - 1
        _filter(model, (1 if last else 2) * settings.max_error * unit, settings.min_angle)
        if progress is not None:
            progress((number + 1) / settings.rounds)
    return _solve_plausibly(model, settings, threads, unit, free)[0]


def _solve_plausibly(
    model: Model, settings: AdjustmentSettings, threads: int, unit: float, free: bool
) -> tuple[Model, bool]:
    """The model adjusted, with free focal lengths if they may be and stay plausible; and whether they were."""
    if free:
        adjusted = model.copy()
        solve(adjusted, settings, threads, loss="SOFT_L1", scale=unit, focal=True, radial=False)
        if plausible(adjusted):
            return adjusted, True
    solve(model, settings, threads, loss="SOFT_L1", scale=unit, focal=False, radial=False)
    return model, False


def plausible(model: Model) -> bool:
    """Focal lengths and radial terms are near enough to where they started to be believed."""
    for before, after in zip(model.cameras, model.adjusted_cameras()):
        if not _FOCAL_RANGE[0] < after.focal / before.focal < _FOCAL_RANGE[1] or abs(after.k1) > _MAX_K1:
            return False
    return True


def solve(
    model: Model,
    settings: AdjustmentSettings,
    threads: int,
    *,
    loss: str,
    scale: float,
    focal: bool,
    radial: bool,
    turn: bool = True,
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
        turn: rotations are free.
    """
    pycolmap = pycolmap_module()
    reconstruction = model.reconstruction
    if reconstruction.num_points3D() == 0 or reconstruction.num_reg_images() < 2:
        return
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.refine_focal_length = focal
    options.refine_extra_params = radial
    options.constant_rig_from_world_rotation = not turn
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
    if model.anchors is None:
        config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
        pycolmap.create_default_bundle_adjuster(options, config, reconstruction).solve()
    else:
        _solve_anchored(model, model.anchors, options, config)


def _solve_anchored(model: Model, anchors: Anchors, options: Any, config: Any) -> None:
    """Adjust with measured poses fixed, or their positions held with their deviation."""
    pycolmap = pycolmap_module()
    measured = posed(anchors.camera_to_world)
    images = [image for image in model.reconstruction.images.values() if measured[image.image_id - 1]]
    if anchors.sigma is None:
        for image in images:
            config.set_constant_rig_from_world_pose(image.frame_id)
        pycolmap.create_default_bundle_adjuster(options, config, model.reconstruction).solve()
        return
    priors = [
        pycolmap.PosePrior(
            pose_prior_id=image.image_id,
            corr_data_id=image.data_id,
            position=anchors.camera_to_world[image.image_id - 1, :3, 3],
            position_covariance=anchors.sigma**2 * np.eye(3),
            coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
        )
        for image in images
    ]
    prior_options = pycolmap.PosePriorBundleAdjustmentOptions()
    prior_options.alignment_ransac.random_seed = 0
    prior_options.alignment_ransac.max_error = _ALIGNMENT * anchors.sigma
    prior_options.ceres.prior_position_loss_function_type = pycolmap.LossFunctionType.CAUCHY
    pycolmap.create_pose_prior_bundle_adjuster(options, prior_options, config, priors, model.reconstruction).solve()


def _filter(model: Model, error: float, angle: float) -> None:
    manager = pycolmap_module().ObservationManager(model.reconstruction)
    manager.filter_observations_with_negative_depth()
    manager.filter_all_points3D(error, angle)


def _unit(model: Model) -> float:
    return max(pixel_unit(camera) for camera in model.cameras)
