"""Many views made consistent: the network's pointmaps in, adjusted cameras and confirmed depths out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.refinement.assessment import agreement, check_depth
from common.refinement.cameras.gauge import moved_cameras, scaling
from common.refinement.cameras.refine_cameras import refine_cameras
from common.refinement.dense.depth_grid import correct_depth
from common.refinement.dense.given_depth import measured_prediction, spread_given
from common.refinement.dense.refine_depth import refine_depth
from common.refinement.dense.settings import DenseSettings
from common.refinement.given import Given
from common.refinement.inputs import Progress, outline
from common.refinement.outcome import Applied, Refinement, Verdict
from common.refinement.settings import CameraSettings, RefinementSettings
from common.refinement.stopwatch import Stopwatch
from common.refinement.types import Camera, Picture, Prediction, RefinedCameras, RefinedDepth

_LEAST_CONFIRMED = 0.25  # of the pixels that views confirm before the search, which asks for more evidence
_CLEARLY_WORSE = 0.9  # of the pixels that views agree on before the search; one that was asked for is taken above it


def refine(
    pictures: Sequence[Picture],
    prediction: Prediction,
    settings: RefinementSettings | None = None,
    *,
    cameras: Sequence[Camera | None] | None = None,
    given: Given | None = None,
    similarity: NDArray[np.floating] | None = None,
    progress: Progress | None = None,
    device: torch.device | str | None = None,
) -> Refinement:
    """Make the cameras and depths of N frames agree with each other and with the pictures.

    Each half is taken only where it wins on evidence that it was not fitted to: the cameras by the epipolar error of
    held-back matches, the depths by the share of pixels that other views confirm.

    Args:
        pictures: in the order of time.
        prediction: of the network, on the CPU.
        settings: mode ``cameras`` leaves out the dense search; any other includes it.
        cameras: known cameras by number, None for those to estimate.
        given: measured poses and depths; the result is in their world and unit.
        similarity: (N, N) retrieval scores that propose pairs of pictures.
        progress: is told the stage and the share of it that is done.
        device: of the dense search; None: the CPU.

    Returns:
        A result whatever the pictures are. `Refinement.cameras` is None where the network's cameras were kept.

    Raises:
        BackendMissingError: pycolmap is not installed.
    """
    settings, progress = settings or RefinementSettings(), progress or (lambda stage, share: None)
    measured = None if given is None else given.depth
    if given is not None:
        given.check(len(pictures), (int(prediction.depth.shape[-2]), int(prediction.depth.shape[-1])))
    if measured is not None:
        prediction = measured_prediction(prediction, measured, settings.dense.grid)
    refined = refine_cameras(
        pictures, prediction, settings.cameras, cameras=cameras, given=given, similarity=similarity, progress=progress
    )
    watch = Stopwatch()
    watch.seconds |= refined.seconds
    watch.cpu_seconds |= refined.cpu_seconds
    outlines = [outline(picture) for picture in pictures]
    verdict = _camera_verdict(refined, len(pictures), settings.cameras)
    if not refined.evidence.refined:
        with watch("verdict"):
            poses, valid = refined.camera_to_world, prediction.valid
            depth = check_depth(pictures, prediction.depth, valid, refined.cameras, poses, settings.dense)
        share = float(depth.confirmed.float().mean())
        verdict = replace(verdict, confirmed=share, confirmed_before=share)
        return Refinement(verdict, outlines, seconds=watch.seconds, cpu_seconds=watch.cpu_seconds)
    if measured is not None and given is not None:
        unit = _common_unit(refined)
        if given.camera_to_world is None:
            refined = moved_cameras(refined, scaling(1 / unit))  # the depths say what a unit is
        else:
            measured = measured * unit
    with watch("depth grid"):
        depth = _grid_depth(pictures, prediction, refined, settings.dense, measured)
    least = settings.dense.consistency.min_views
    before = depth.views >= least
    applied: Applied = "cameras"
    if settings.mode != "cameras":
        with watch("sweep"):
            swept = refine_depth(pictures, prediction, refined, settings.dense, progress, device, measured)
        if _search_wins(swept, depth, least, settings.mode == "dense"):
            applied, depth = "dense", swept
        else:
            verdict = replace(verdict, reason=f"{verdict.reason}; the dense search confirmed no more points")
    verdict = replace(
        verdict,
        applied=applied,
        confirmed=float(depth.confirmed.float().mean()),
        confirmed_before=float(before.float().mean()),
    )
    return Refinement(verdict, outlines, refined, depth, watch.seconds, watch.cpu_seconds)


def _search_wins(swept: RefinedDepth, smooth: RefinedDepth, least: int, asked_for: bool) -> bool:
    """Whether the searched depths are taken in place of the smoothly corrected ones.

    Evidence is the number of pixels on which at least `least` other views agree, which no search was fitted to. One
    that the user asked for is taken unless it is clearly worse.
    """
    # A search without views at a useful distance confirms nothing; the smooth correction may all the same.
    if swept.confirmed.sum() < _LEAST_CONFIRMED * smooth.confirmed.sum():
        return False
    found, before = int((swept.views >= least).sum()), int((smooth.views >= least).sum())
    return found > before or (asked_for and found >= _CLEARLY_WORSE * before)


def _camera_verdict(refined: RefinedCameras, count: int, settings: CameraSettings) -> Verdict:
    evidence = refined.evidence
    error = _measured(evidence.error_after if evidence.refined else evidence.error_before)
    return Verdict(
        applied="cameras" if evidence.refined else "none",
        agrees=agreement(error, evidence.frames_connected, refined.cameras, settings),
        epipolar_error=error,
        epipolar_error_before=_measured(evidence.error_before),
        frames_checked=count,
        frames_connected=evidence.frames_connected,
        matches_connected=evidence.matches_connected,
        reason=evidence.reason,
    )


def _common_unit(refined: RefinedCameras) -> float:
    """Factor from the unit of measured depths, which the prediction was brought to, to that of the world."""
    known = refined.depth_scale[torch.isfinite(refined.depth_scale)]
    return float(known.median()) if len(known) else 1.0


def _grid_depth(
    pictures: Sequence[Picture],
    prediction: Prediction,
    refined: RefinedCameras,
    settings: DenseSettings,
    measured: torch.Tensor | None,
) -> RefinedDepth:
    """The network's depth after a smooth correction by the tracks, and what other views say of it."""
    maps = torch.stack([picture.network_from_working.double() for picture in pictures])
    depth = correct_depth(prediction.depth, prediction.valid, refined, maps, settings.grid)
    if measured is not None:
        depth = spread_given(depth, measured)
    return check_depth(
        pictures, depth, prediction.valid, refined.cameras, refined.camera_to_world, settings, refined.tracks
    )


def _measured(value: float) -> float | None:
    return value if np.isfinite(value) else None
