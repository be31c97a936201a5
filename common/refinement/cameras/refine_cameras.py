"""Cameras of many pictures made consistent, from a network's first guess: the whole of the camera stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.refinement.cameras.camera_verdict import judge, share_agreeing, share_connected, track_parallax
from common.refinement.cameras.fitting import FitError, Job, fit_cameras, held_back_error
from common.refinement.cameras.gauge import depth_ratios, place_the_rest, world_alignment
from common.refinement.cameras.given_poses import fit_given, given_result, orthonormal, unit_ratio
from common.refinement.cameras.model import Model, connected_frames, tracks_of
from common.refinement.cameras.placement import sample_depth
from common.refinement.cameras.posed import posed
from common.refinement.given import Given
from common.refinement.inputs import (
    Outlines,
    Progress,
    check_lengths,
    first_cameras,
    network_cameras,
    network_poses,
)
from common.refinement.matching.backend import silence, usable_threads
from common.refinement.matching.features import Extractor, extract
from common.refinement.matching.pair_matching import Matcher, match_pairs
from common.refinement.matching.pairs import select_pairs
from common.refinement.matching.track_building import build_tracks, split_matches
from common.refinement.projection import pixel_unit
from common.refinement.settings import CameraSettings
from common.refinement.stopwatch import Stopwatch
from common.refinement.types import Camera, CameraEvidence, Picture, Prediction, RefinedCameras, Tracks

_DEPTHS = 10  # observations with a network depth that a frame's scale needs


def refine_cameras(
    pictures: Sequence[Picture],
    prediction: Prediction,
    settings: CameraSettings | None = None,
    *,
    cameras: Sequence[Camera | None] | None = None,
    given: Given | None = None,
    similarity: NDArray[np.floating] | None = None,
    extractor: Extractor | None = None,
    matcher: Matcher | None = None,
    progress: Progress | None = None,
) -> RefinedCameras:
    """Refine the cameras of N pictures, or say why they stay as the network had them.

    Args:
        pictures: in the order of time, if there is one. Each is read once, so a sequence may load them when asked.
        prediction: depths, poses and intrinsics of the network; moved nowhere, so on the CPU.
        settings: the defaults where None.
        cameras: known cameras by number, None for those to estimate.
        given: measured poses. They are taken whatever the pictures say, which `evidence` tells; the result is in their
            world and unit.
        similarity: (N, N) retrieval scores that propose pairs; the pictures' features do where None.
        extractor: features; SIFT where None.
        matcher: of features; nearest neighbours where None.
        progress: is told the stage and the share of it that is done.

    Returns:
        Cameras and poses in the world of the prediction or of `given`, with the evidence for them. Whatever the
        pictures are, this is a result: `evidence.refined` says whether anything was changed, `evidence.reason` why.

    Raises:
        ValueError: arguments that do not go together.
        BackendMissingError: pycolmap is not installed.
    """
    settings, progress = settings or CameraSettings(), progress or (lambda stage, share: None)
    check_lengths(pictures, prediction)
    watch = Stopwatch()
    with silence():
        job, start = _prepare(pictures, prediction, settings, cameras, similarity, extractor, matcher, watch, progress)
        network = network_cameras(job.outlines, prediction)
        if given is not None and given.camera_to_world is not None:
            poses = orthonormal(given.camera_to_world)
            model = fit_given(job, start, poses, given.sigma, watch, progress)
            with watch("verdict"):
                progress("verdict", 0.0)
                return _conclude_given(job, network, model, poses, given.sigma, watch)
        try:
            model = fit_cameras(job, start, watch, progress)
        except FitError as error:
            return _kept(job, network, watch, CameraEvidence(), str(error))
        with watch("verdict"):
            progress("verdict", 0.0)
            return _conclude(job, network, model, watch)


def _prepare(
    pictures: Sequence[Picture],
    prediction: Prediction,
    settings: CameraSettings,
    cameras: Sequence[Camera | None] | None,
    similarity: NDArray[np.floating] | None,
    extractor: Extractor | None,
    matcher: Matcher | None,
    watch: Stopwatch,
    progress: Progress,
) -> tuple[Job, list[Camera]]:
    """Stage 1: features and verified matches, some of them held back; and the cameras to start from."""
    threads = usable_threads(settings.threads)
    reader = Outlines(pictures, settings)
    with watch("features"):
        features = extract(reader, settings.matching, threads, extractor, lambda share: progress("features", share))
    outlines = reader.outlines()
    start = first_cameras(outlines, network_cameras(outlines, prediction), cameras)
    with watch("pairs"):
        pairs = select_pairs(features, settings.matching, similarity)
    with watch("matching"):
        matches = match_pairs(
            features,
            pairs,
            [start[picture.camera] for picture in outlines],
            settings.matching,
            threads=threads,
            seed=settings.seed,
            matcher=matcher,
            progress=lambda share: progress("matching", share),
        )
        rng = np.random.default_rng(settings.seed)
        tracks = build_tracks([len(feature) for feature in features], matches, settings.verdict.held_back, rng)
        fitted, held = split_matches(matches, tracks)
    return Job(outlines, features, tracks, fitted, held, prediction, settings, threads), start


def _conclude(job: Job, network: list[Camera], model: Model, watch: Stopwatch) -> RefinedCameras:
    """The refined cameras in the network's world, if they are better."""
    count, settings = len(job.outlines), job.settings
    connected = connected_frames(model, count, settings.adjustment.min_observations)
    cameras, poses = model.adjusted_cameras(), model.poses(count)
    poses[~connected] = np.nan
    connected &= _not_collapsed(job, poses, tracks_of(model, connected))
    poses[~connected] = np.nan
    tracks, first = tracks_of(model, connected), network_poses(job.prediction)
    comparable = np.where(connected[:, None, None], first, np.nan)
    evidence = _evidence(job, connected, network, cameras, comparable, poses)
    evidence = replace(evidence, parallax=track_parallax(tracks, poses))
    evidence = judge(evidence, cameras, settings.verdict)
    if not evidence.refined:
        return _kept(job, network, watch, evidence, None, connected)
    depth = _depth_at(job, tracks)
    ratios, _ = depth_ratios(poses, tracks, depth, _DEPTHS)
    to_world = world_alignment(poses, first, ratios)
    poses, ratios = to_world.poses(poses), to_world.scale * ratios
    tracks = replace(tracks, point=torch.from_numpy(to_world.points(tracks.point.double().numpy())).float())
    placed, scales = place_the_rest(poses, first, ratios)
    return RefinedCameras(
        cameras,
        torch.from_numpy(poses).float(),
        torch.from_numpy(connected),
        torch.from_numpy(placed).float(),
        torch.from_numpy(scales).float(),
        torch.from_numpy(ratios).float(),
        tracks,
        evidence,
        watch.seconds,
        watch.cpu_seconds,
    )


def _conclude_given(
    job: Job, network: list[Camera], model: Model, given: NDArray[np.float64], sigma: float | None, watch: Stopwatch
) -> RefinedCameras:
    """Cameras in the given world, and what the held-back matches say of them."""
    poses, here, matched, to_given = given_result(model, given, sigma, job.settings.adjustment.min_observations)
    cameras, first, tracks = model.adjusted_cameras(), network_poses(job.prediction), tracks_of(model, here)
    tracks = replace(tracks, point=torch.from_numpy(to_given.points(tracks.point.double().numpy())).float())
    evidence = _evidence(job, matched, network, cameras, np.where(here[:, None, None], first, np.nan), poses)
    reason = f"poses as given{'' if sigma is None else f', adjusted within about {sigma:g}'}"
    if np.isfinite(evidence.error_after):
        reason += f": median epipolar error {evidence.error_after:.2f} px, the network's {evidence.error_before:.2f} px"
    evidence = replace(evidence, refined=True, reason=reason, parallax=track_parallax(tracks, poses))
    ratios, _ = depth_ratios(poses, tracks, _depth_at(job, tracks), _DEPTHS)
    ratios = np.where(np.isfinite(ratios), ratios, unit_ratio(given, first))
    placed, scales = place_the_rest(poses, first, ratios)
    return RefinedCameras(
        cameras,
        torch.from_numpy(poses).float(),
        torch.from_numpy(here),
        torch.from_numpy(placed).float(),
        torch.from_numpy(scales).float(),
        torch.from_numpy(ratios).float(),
        tracks,
        evidence,
        watch.seconds,
        watch.cpu_seconds,
    )


def _not_collapsed(job: Job, poses: NDArray[np.float64], tracks: Tracks) -> NDArray[np.bool_]:
    """(N,) False for frames whose points came out at quite another scale than the network's depths have in the others:
    where a chain of matches is thin, adjustment can shrink its end to nothing without any error in the pictures."""
    ratios, _ = depth_ratios(poses, tracks, _depth_at(job, tracks), _DEPTHS)
    known = np.isfinite(ratios)
    if not known.any():
        return np.ones(len(ratios), np.bool_)
    apart = np.abs(np.log(np.maximum(ratios, 1e-12) / np.median(ratios[known])))
    return ~(known & (apart > np.log(job.settings.verdict.max_collapse)))


def _evidence(
    job: Job,
    connected: NDArray[np.bool_],
    network: list[Camera],
    cameras: list[Camera],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> CameraEvidence:
    """Measure both sets of cameras on the held-back matches of frames that both have."""
    both = posed(before)
    error_before, _ = held_back_error(job, network, before)
    error_after, held = held_back_error(job, job.of_frames(cameras), np.where(both[:, None, None], after, np.nan))
    if not both.any():
        error_after, held = held_back_error(job, job.of_frames(cameras), after)
    frames = job.of_frames(cameras)
    error = job.settings.matching.max_error / 2 * max(pixel_unit(camera) for camera in cameras)
    total = sum(len(pair.rows) for pair in job.matches)
    inside = sum(len(pair.rows) for pair in job.matches if connected[pair.first] and connected[pair.second])
    return CameraEvidence(
        error_before=error_before,
        error_after=error_after,
        held_back=held,
        frames_connected=share_connected(connected),
        matches_connected=inside / total if total else 0.0,
        area_agreeing=share_agreeing(job.features, job.matches, frames, after, error),
        focal_before=_focals(job, network),
        focal_after=[camera.focal for camera in cameras],
    )


def _kept(
    job: Job,
    network: list[Camera],
    watch: Stopwatch,
    evidence: CameraEvidence,
    fault: str | None,
    connected: NDArray[np.bool_] | None = None,
) -> RefinedCameras:
    """The network's cameras."""
    count = len(job.outlines)
    poses = job.prediction.camera_to_world.detach().cpu().float().clone()
    if fault is not None:
        error, held = held_back_error(job, network, network_poses(job.prediction))
        evidence = replace(
            evidence,
            error_before=error,
            held_back=held,
            focal_before=_focals(job, network),
            reason=f"cameras kept as the network had them: {fault}",
        )
    cameras = [
        next(network[frame] for frame in range(count) if job.frame_camera[frame] == index)
        for index in range(max(job.frame_camera) + 1)
    ]
    return RefinedCameras(
        cameras,
        poses,
        torch.zeros(count, dtype=torch.bool) if connected is None else torch.from_numpy(connected),
        poses.clone(),
        torch.ones(count),
        torch.full((count,), torch.nan),
        Tracks.empty(),
        evidence,
        watch.seconds,
        watch.cpu_seconds,
    )


def _focals(job: Job, network: list[Camera]) -> list[float]:
    """Median focal length of the network for each camera."""
    numbers = np.array(job.frame_camera)
    focals = np.array([camera.focal for camera in network])
    return [float(np.median(focals[numbers == index])) for index in range(numbers.max() + 1)]


def _depth_at(job: Job, tracks: Tracks) -> NDArray[np.float64]:
    """(O,) the network's depth at each observation, NaN where it has none."""
    depth = np.full(len(tracks.frame), np.nan)
    frame, xy = tracks.frame.numpy(), tracks.xy.double().numpy()
    for index in np.unique(frame):
        own = np.flatnonzero(frame == index)
        prediction = job.prediction
        depth[own] = sample_depth(xy[own], job.outlines[index], prediction.depth[index], prediction.valid[index])
    return depth
