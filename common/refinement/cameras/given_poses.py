"""Cameras whose poses were measured: points triangulated from them, and poses adjusted no further than sigma allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.refinement.cameras.adjustment import adjust_fine, correspondence_graph
from common.refinement.cameras.fitting import Job, choose_radial
from common.refinement.cameras.focal import estimate_focals
from common.refinement.cameras.gauge import Similarity, median_rotation, scaling, world_alignment
from common.refinement.cameras.model import Anchors, Model, build_model, connected_frames
from common.refinement.cameras.placement import all_feature_geometry, place
from common.refinement.cameras.posed import posed
from common.refinement.cameras.rotations import average_rotations, relative_poses
from common.refinement.inputs import Progress
from common.refinement.stopwatch import Stopwatch
from common.refinement.types import Camera


def fit_given(
    job: Job,
    cameras: Sequence[Camera],
    given: NDArray[np.float64],
    sigma: float | None,
    watch: Stopwatch,
    progress: Progress,
) -> Model:
    """Points, and poses of the frames without one, in the world of the given poses.

    Args:
        job: matches and prediction.
        cameras: physical cameras; known ones stay.
        given: (N, 4, 4) measured camera-to-world poses, NaN where a frame has none.
        sigma: standard deviation of their positions; None: they stay.
        watch: takes the time of stages.
        progress: is told of stages.
    """
    settings = job.settings
    with watch("focal"):
        cameras, _ = estimate_focals(cameras, job.frame_camera, job.matches, settings.focal)
    with watch("placement"):
        progress("placement", 0.0)
        poses = given if posed(given).all() else _with_the_rest(job, cameras, given)
    with watch("adjustment"):
        progress("adjustment", 0.0)
        here = posed(poses)
        matches = [pair for pair in job.matches if here[pair.first] and here[pair.second]]
        model = replace(build_model(cameras, job.frame_camera, job.features, poses), anchors=Anchors(given, sigma))
        model = adjust_fine(
            model,
            job.features,
            correspondence_graph(job.features, matches),
            settings.adjustment,
            threads=job.threads,
            seed=settings.seed,
            progress=lambda share: progress("adjustment", share),
        )
        return choose_radial(job, model) if model.reconstruction.num_points3D() else model


def given_result(
    model: Model, given: NDArray[np.float64], sigma: float | None, least: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Similarity]:
    """Poses of a fitted model in the given world.

    Args:
        model: of `fit_given`.
        given: (N, 4, 4) as for it.
        sigma: as for it.
        least: points that a frame must share with the others to count as connected by matches.

    Returns:
        (N, 4, 4) poses, NaN for frames that neither have a given one nor hang together with those that do; (N,) bool
        frames that have one of either kind; (N,) bool frames that matches connect; and the way of the model's points
        into the given world.
    """
    measured = posed(given)
    matched = connected_frames(model, len(given), least)
    if not (matched & measured).any():
        matched = np.zeros(len(given), dtype=np.bool_)
    here = matched | measured
    poses, to_given = model.poses(len(given)), scaling(1.0)
    if sigma is None:
        poses[measured] = given[measured]
    elif matched.sum() > 1:
        # Priors on positions alone do not hold the turn about a straight path.
        to_given = _turn(poses, given, matched & measured)
        poses = to_given.poses(poses)
    poses[measured & ~matched] = given[measured & ~matched]
    poses[~here] = np.nan
    return poses, here, matched, to_given


def unit_ratio(given: NDArray[np.float64], network: NDArray[np.float64]) -> float:
    """Unit of the network's world in that of the given poses (N, 4, 4), from the distances between frames."""
    return 1 / world_alignment(given, network, np.full(len(given), np.nan)).scale


def orthonormal(poses: torch.Tensor) -> NDArray[np.float64]:
    """(N, 4, 4) float64 poses with exact rotations: files hold few digits."""
    result = poses.detach().cpu().to(torch.float64).numpy().copy()
    known = posed(result)
    left, _, right = np.linalg.svd(result[known, :3, :3])
    result[known, :3, :3] = left @ right
    return result


def _turn(poses: NDArray[np.float64], given: NDArray[np.float64], both: NDArray[np.bool_]) -> Similarity:
    """Turn about the middle of a path, from poses (N, 4, 4) to the given orientations; priors set place and scale."""
    rotation = median_rotation(given[both, :3, :3] @ poses[both, :3, :3].swapaxes(1, 2))
    middle = poses[both, :3, 3].mean(axis=0)
    return Similarity(1.0, rotation, middle - rotation @ middle)


def _with_the_rest(job: Job, cameras: Sequence[Camera], given: NDArray[np.float64]) -> NDArray[np.float64]:
    """The given poses, and those of the other frames by rotation averaging and the network's depth."""
    settings, count, frames = job.settings, len(job.outlines), job.of_frames(cameras)
    relative = relative_poses(
        job.features, frames, job.matches, settings.matching, threads=job.threads, seed=settings.seed
    )
    rotations, agreeing = average_rotations(count, relative, settings.rotations, settings.seed)
    if not agreeing:
        return given
    geometry = all_feature_geometry(job.features, frames, job.outlines, job.prediction)
    own = place(rotations, agreeing, geometry, settings.placement).camera_to_world
    both = posed(own) & posed(given)
    if both.sum() < 2:
        return given
    placed = world_alignment(own, given, np.full(count, np.nan)).poses(own)
    return np.where(posed(given)[:, None, None], given, placed)
