"""Whether refined cameras are better than the network's, on matches that neither was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from common.refinement.cameras.posed import posed
from common.refinement.matching.epipolar import epipolar_errors
from common.refinement.matching.features import Features
from common.refinement.matching.pair_matching import PairMatches, cells
from common.refinement.projection import pixel_unit
from common.refinement.settings import VerdictSettings
from common.refinement.types import Camera, CameraEvidence, Tracks


def track_parallax(tracks: Tracks, poses: NDArray[np.float64]) -> float:
    """Median over points of the largest angle of their rays to the first of them, degrees; NaN without points.

    Args:
        tracks: points and observations.
        poses: (N, 4, 4) camera-to-world.
    """
    if not len(tracks.point):
        return float("nan")
    index, frame = tracks.point_index.numpy(), tracks.frame.numpy()
    rays = _unit(tracks.point.numpy().astype(np.float64)[index] - poses[frame, :3, 3])
    first = np.zeros((len(tracks.point), 3))
    first[index[::-1]] = rays[::-1]
    cosine = np.ones(len(tracks.point))
    np.minimum.at(cosine, index, (rays * first[index]).sum(axis=1))
    return float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))


def best_partners(matches: Sequence[PairMatches]) -> list[PairMatches]:
    """For each frame, the pair with most verified matches; each pair once."""
    best: dict[int, PairMatches] = {}
    for pair in matches:
        for frame in (pair.first, pair.second):
            if frame not in best or len(pair.rows) > len(best[frame].rows):
                best[frame] = pair
    return list({(pair.first, pair.second): pair for pair in best.values()}.values())


def share_agreeing(
    features: Sequence[Features],
    matches: Sequence[PairMatches],
    cameras: Sequence[Camera],
    poses: NDArray[np.float64],
    error: float,
) -> float:
    """Share of the pictures' area whose matches with the best partner agree with the cameras.

    All proposed matches count, wrong ones too. Area is counted in cells with matches; a cell agrees where most of its
    matches lie near their epipolar lines.

    Args:
        features: of N frames.
        matches: verified pairs.
        cameras: of the N frames.
        poses: (N, 4, 4) camera-to-world, NaN where a frame has none; pairs with such a frame are left out.
        error: pixels.
    """
    known, agreeing, total = posed(poses), 0, 0
    for pair in best_partners(matches):
        if not (known[pair.first] and known[pair.second]):
            continue
        whole = replace(pair, rows=np.concatenate([pair.rows, pair.unverified]))
        near = epipolar_errors(features, [whole], cameras, poses) <= error
        cell = cells(features[pair.first].xy[whole.rows[:, 0]], cameras[pair.first].size)
        proposed, right = np.bincount(cell), np.bincount(cell, weights=near)
        agreeing += int((right[proposed >= 2] > proposed[proposed >= 2] / 2).sum())
        total += int((proposed >= 2).sum())
    return agreeing / total if total else 0.0


def judge(evidence: CameraEvidence, cameras: Sequence[Camera], settings: VerdictSettings) -> CameraEvidence:
    """The evidence with its verdict and a line that says why.

    Args:
        evidence: measured.
        cameras: the refined ones.
        settings: what is asked for.
    """
    fault = _fault(evidence, cameras, settings)
    if fault is not None:
        return replace(evidence, refined=False, reason=f"cameras kept as the network had them: {fault}")
    return replace(
        evidence,
        refined=True,
        reason=(
            f"cameras refined: median epipolar error {evidence.error_before:.2f} px before, "
            f"{evidence.error_after:.2f} px after, {evidence.frames_connected:.0%} of the frames connected"
            + ("" if evidence.frames_connected == 1 else ", the others kept beside their neighbours")
        ),
    )


def _fault(evidence: CameraEvidence, cameras: Sequence[Camera], settings: VerdictSettings) -> str | None:
    """Reason to reject the refined cameras; None if there is none."""
    before, after = evidence.error_before, evidence.error_after
    if evidence.frames_connected == 0:
        return "hardly anything could be triangulated: pictures from one place, or of different things"
    if evidence.frames_connected < settings.min_frames:
        return f"matches connect only {evidence.frames_connected:.0%} of the frames"
    if not np.isfinite(after):
        return "no matches were left to check them"
    unit = max(pixel_unit(camera) for camera in cameras)
    if after > settings.max_error * unit:
        return f"the median epipolar error after refinement is {after:.2f} px"
    if not evidence.parallax >= settings.min_parallax:
        return f"the pictures were taken from one place (parallax {evidence.parallax:.2f} degrees)"
    if evidence.area_agreeing < settings.min_agreeing:
        return f"only {evidence.area_agreeing:.0%} of the pictures' area agrees on a motion of the camera"
    free = [index for index, camera in enumerate(cameras) if not camera.known]
    ratios = [evidence.focal_after[index] / evidence.focal_before[index] for index in free]
    if any(not 1 / settings.max_focal_change < ratio < settings.max_focal_change for ratio in ratios):
        return f"the focal length came out {max(ratios, key=lambda ratio: abs(np.log(ratio))):.1f} times the network's"
    gain = settings.min_gain if after <= settings.good_error * unit else settings.gain_if_poor
    if np.isfinite(before) and after > gain * before:
        return f"refinement lowers the median epipolar error only from {before:.2f} to {after:.2f} px"
    return None


def share_connected(connected: NDArray[np.bool_]) -> float:
    """Share of frames in the largest part; 0 where that is a single frame."""
    return float(connected.mean()) if connected.sum() > 1 else 0.0


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
