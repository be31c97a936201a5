"""From verified matches to adjusted cameras: focal lengths, rotations, positions, bundle adjustment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.refinement.cameras.adjustment import adjust_coarse, adjust_fine, correspondence_graph, plausible, solve
from common.refinement.cameras.focal import estimate_focals
from common.refinement.cameras.model import Model, add_network_points, build_model
from common.refinement.cameras.placement import all_feature_geometry, place
from common.refinement.cameras.posed import posed
from common.refinement.cameras.rotations import average_rotations, relative_poses
from common.refinement.inputs import Progress
from common.refinement.matching.epipolar import epipolar_errors
from common.refinement.matching.features import Features
from common.refinement.matching.pair_matching import PairMatches
from common.refinement.matching.track_building import FeatureTracks, clean_observations
from common.refinement.projection import pixel_unit
from common.refinement.settings import CameraSettings
from common.refinement.stopwatch import Stopwatch
from common.refinement.types import Camera, Picture, Prediction

_TRACKS_PER_FRAME = 300  # of the longest, which start the adjustment
_RADIAL_GAIN = 0.95  # of the held-back error, at most, for a radial term to be kept


class FitError(RuntimeError):
    """The cameras cannot be fitted; the message says why, to follow "cameras kept as the network had them:"."""


@dataclass(frozen=True)
class Job:
    """Input shared by the stages of fitting."""

    outlines: Sequence[Picture]
    features: Sequence[Features]
    tracks: FeatureTracks
    matches: Sequence[PairMatches]
    """Matches to fit."""
    held: Sequence[PairMatches]
    """Matches held back from fitting; they decide on the radial term and measure the result."""
    prediction: Prediction
    settings: CameraSettings
    threads: int

    @property
    def frame_camera(self) -> list[int]:
        """Camera of each frame."""
        return [picture.camera for picture in self.outlines]

    def of_frames(self, cameras: Sequence[Camera]) -> list[Camera]:
        """The camera of each frame."""
        return [cameras[index] for index in self.frame_camera]


def fit_cameras(job: Job, cameras: Sequence[Camera], watch: Stopwatch, progress: Progress) -> Model:
    """Stages 2 to 5 of refinement.

    Args:
        job: matches and prediction.
        cameras: physical cameras, to start from.
        watch: takes the time of stages.
        progress: is told of stages.

    Raises:
        FitError: too few matches, or nothing that can be triangulated.
    """
    count, settings = len(job.outlines), job.settings
    with watch("focal"):
        cameras, _ = estimate_focals(cameras, job.frame_camera, job.matches, settings.focal)
    with watch("rotations"):
        progress("rotations", 0.0)
        frames = job.of_frames(cameras)
        relative = relative_poses(
            job.features, frames, job.matches, settings.matching, threads=job.threads, seed=settings.seed
        )
        rotations, agreeing = average_rotations(count, relative, settings.rotations, settings.seed)
    if not agreeing:
        raise FitError("no two pictures have matches enough")
    with watch("placement"):
        progress("placement", 0.0)
        geometry = all_feature_geometry(job.features, frames, job.outlines, job.prediction)
        placement = place(rotations, agreeing, geometry, settings.placement)
        placed = posed(placement.camera_to_world)
        if placed.sum() < 2:
            raise FitError("the network has no depth where the pictures match")
    with watch("adjustment"):
        progress("adjustment", 0.0)
        pairs = {(pose.first, pose.second) for pose in agreeing}
        matches = [
            pair
            for pair in job.matches
            if (pair.first, pair.second) in pairs and placed[pair.first] and placed[pair.second]
        ]
        observations = clean_observations(job.tracks, matches, placed, _TRACKS_PER_FRAME)
        model = build_model(cameras, job.frame_camera, job.features, placement.camera_to_world)
        add_network_points(model, observations, geometry, placement)
        adjust_coarse(model, settings.adjustment, job.threads)
        graph = correspondence_graph(job.features, matches)
        model = adjust_fine(
            model,
            job.features,
            graph,
            settings.adjustment,
            threads=job.threads,
            seed=settings.seed,
            progress=lambda share: progress("adjustment", share),
        )
        if model.reconstruction.num_points3D() == 0:
            parallax = float(np.median([pose.parallax for pose in agreeing]))
            raise FitError(f"the pictures were taken from one place (parallax {parallax:.2f} degrees)")
        return choose_radial(job, model)


def held_back_error(job: Job, cameras: Sequence[Camera], poses: NDArray[np.float64]) -> tuple[float, int]:
    """Median epipolar error of the held-back matches between frames with a pose, pixels, and their number."""
    errors = epipolar_errors(job.features, job.held, cameras, poses)
    errors = errors[np.isfinite(errors)]
    return (float(np.median(errors)), len(errors)) if len(errors) else (float("nan"), 0)


def choose_radial(job: Job, model: Model) -> Model:
    """The model with radial terms if they are asked for, or if the held-back matches say that they help."""
    wish = job.settings.adjustment.radial
    if wish not in ("auto", "on", "off"):
        raise ValueError(f"adjustment.radial: expected auto, on or off, got {wish!r}")
    if wish == "off" or all(camera.known for camera in model.cameras):
        return model
    bent = model.copy()
    unit = max(pixel_unit(camera) for camera in model.cameras)
    solve(bent, job.settings.adjustment, job.threads, loss="SOFT_L1", scale=unit, focal=True, radial=True)
    if not plausible(bent):
        return model
    if wish == "on":
        return bent
    count = len(job.outlines)
    before, _ = held_back_error(job, job.of_frames(model.adjusted_cameras()), model.poses(count))
    after, _ = held_back_error(job, job.of_frames(bent.adjusted_cameras()), bent.poses(count))
    return bent if after < _RADIAL_GAIN * before else model
