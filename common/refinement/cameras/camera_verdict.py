"""Whether refined cameras are better than the network's, on matches that neither was fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from common.refinement.settings import VerdictSettings
from common.refinement.types import CameraEvidence, Tracks


def track_parallax(tracks: Tracks, poses: NDArray[np.float64]) -> float:
    """Median over points of the angle between the rays of its first and last observation, degrees; NaN without points.

    Args:
        tracks: points; observations of a point stand together, in the order of frames.
        poses: (N, 4, 4) camera-to-world.
    """
    if not len(tracks.point):
        return float("nan")
    index = tracks.point_index.numpy()
    order = np.lexsort((tracks.frame.numpy(), index))
    starts = np.searchsorted(index[order], np.arange(len(tracks.point)))
    ends = np.append(starts[1:], len(index)) - 1
    centres = poses[tracks.frame.numpy()[order], :3, 3]
    point = tracks.point.numpy().astype(np.float64)
    first, last = (_unit(point - centres[rows]) for rows in (starts, ends))
    return float(np.degrees(np.median(np.arccos(np.clip((first * last).sum(axis=1), -1, 1)))))


def judge(evidence: CameraEvidence, settings: VerdictSettings, unit: float) -> CameraEvidence:
    """The evidence with its verdict and a line that says why.

    Args:
        evidence: measured.
        settings: what is asked for.
        unit: factor on the settings' pixels (`pixel_unit`).
    """
    fault = _fault(evidence, settings, unit)
    if fault is not None:
        return replace(evidence, refined=False, reason=f"cameras kept as the network had them: {fault}")
    return replace(
        evidence,
        refined=True,
        reason=(
            f"cameras refined: median epipolar error {evidence.error_before:.2f} px before, "
            f"{evidence.error_after:.2f} px after, {evidence.frames_connected:.0%} of the frames connected"
        ),
    )


def _fault(evidence: CameraEvidence, settings: VerdictSettings, unit: float) -> str | None:
    """What speaks against the refined cameras, if anything does."""
    before, after = evidence.error_before, evidence.error_after
    if evidence.frames_connected == 0:
        return "no two pictures have matches enough"
    if evidence.frames_connected < settings.min_frames:
        return f"matches connect only {evidence.frames_connected:.0%} of the frames"
    if not np.isfinite(after):
        return "no matches were left to check them"
    if after > settings.max_error * unit:
        return f"the median epipolar error after refinement is {after:.2f} px"
    if not evidence.parallax >= settings.min_parallax:
        return f"the pictures were taken from one place (parallax {evidence.parallax:.2f} degrees)"
    if np.isfinite(before) and after > settings.min_gain * before:
        return f"refinement lowers the median epipolar error only from {before:.2f} to {after:.2f} px"
    return None


def share_connected(connected: NDArray[np.bool_]) -> float:
    """Share of frames in the largest part; 0 where that is a single frame."""
    return float(connected.mean()) if connected.sum() > 1 else 0.0


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
