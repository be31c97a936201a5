"""Summary of a reconstruction in numbers, and warnings for the user."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from common.revision import code_revision
from slam3r.scene.scene_data import SceneData

_NAMED = 3
FEW_POINTS = 0.2
"""Share of confident points below which a result says how to keep more."""


def summarize(scene: SceneData) -> dict[str, Any]:
    """Content of ``summary.json``: the run in numbers."""
    mapped = scene.mapped
    means = [frame.mean_confidence for frame in mapped]
    weak = [frame.name for frame in scene.frames if frame.status == "low_confidence"]
    return {
        "frames": len(scene.frames),
        "frames_with_pointmap": len(mapped),
        "interrupted": scene.interrupted,
        "ended": "it was interrupted" if scene.interrupted else scene.ended or "its last frame",
        "stride": scene.stride,
        "initial_window": list(scene.initial_window),
        "initial_reference": scene.initial_reference,
        "points": len(scene.points),
        "confident_points": scene.num_confident,
        "confidence_threshold": scene.threshold,
        "confidence": {
            "mean": _number(np.mean(means)) if means else None,
            "lowest_frame": _number(min(means)) if means else None,
            "highest_frame": _number(max(means)) if means else None,
            "highest_point": _number(scene.highest_confidence),
        },
        "low_confidence_frames": weak,
        "interpolated_frames": [frame.name for frame in scene.posed if frame.status == "interpolated"],
        "frames_without_pose": [frame.name for frame in scene.frames if frame.camera_to_world is None],
        "verdict": {**asdict(scene.verdict), "sentence": scene.verdict.sentence()},
        "unit": {**asdict(scene.unit), "sentence": scene.unit.sentence()},
        "frames_not_connected": [frame.name for frame in scene.frames if not frame.connected],
        "skipped": [{"file": name, "reason": reason} for name, reason in scene.skipped],
        "seconds": {stage: round(seconds, 3) for stage, seconds in scene.seconds.items()},
        "total_seconds": round(scene.total_seconds, 3),
        "frames_per_second": round(scene.frames_per_second, 3),
        "peak_memory_bytes": asdict(scene.peak_memory),
        "network_size": list(scene.network_size),
        "network_intrinsics": scene.network_intrinsics.tolist(),
        "strides_tried": {str(tried.stride): _number(tried.mean_confidence) for tried in scene.strides_tried},
        "settings": asdict(scene.settings),
        "model": scene.model,
        "made_from": scene.made_from,
        "revision": code_revision(),
        "per_frame": [
            {
                "name": frame.name,
                "status": frame.status,
                "keyframe": frame.keyframe,
                "mean_confidence": _number(frame.mean_confidence),
                "min_confidence": _number(frame.min_confidence),
                "local_mean_confidence": _number(frame.local_mean_confidence),
                "pose_inliers": _number(frame.pose_inliers),
            }
            for frame in scene.frames
        ],
    }


def find_warnings(scene: SceneData) -> list[str]:
    """Warnings about the result, a sentence each."""
    found: list[str] = []
    if len(scene.points) == 0:
        found.append(
            f"no point has a confidence above {scene.threshold:g} (the highest has {scene.highest_confidence:.3g}): "
            "points.ply is empty; a lower export.confidence keeps more"
        )
    if scene.verdict.agrees is False:
        found.append(scene.verdict.sentence())
    height, width = scene.network_size
    share = scene.num_confident / max(1, len(scene.mapped) * height * width)
    if 0 < share < FEW_POINTS:
        found.append(_few_points(scene, share))
    weak = sum(frame.status == "low_confidence" for frame in scene.frames)
    if weak:
        found.append(f"{weak} of {len(scene.mapped)} frames have a low confidence; summary.json names them")
    guessed = sum(frame.status == "interpolated" for frame in scene.posed)
    if guessed:
        found.append(
            f"{guessed} of {len(scene.frames)} frames share too few corners with their keyframes, so their poses are "
            "interpolated; summary.json names them"
        )
    lost = len(scene.frames) - len(scene.posed)
    if lost:
        found.append(f"{lost} of {len(scene.frames)} frames have no pose and are missing in trajectory.txt")
    if scene.skipped:
        named = [f"{name}: {reason}" for name, reason in scene.skipped[:_NAMED]]
        more = f"; and {len(scene.skipped) - _NAMED} more" if len(scene.skipped) > _NAMED else ""
        found.append(f"not all of the input could be read: {'; '.join(named)}{more}")
    return found


def _few_points(scene: SceneData, share: float) -> str:
    if scene.verdict.applied != "none":
        return f"other views confirm {100 * share:.0f} % of the points; export.unconfirmed=true keeps the others too"
    return (
        f"{100 * share:.1f} % of the points have a confidence above {scene.threshold:g}; "
        f"export.confidence={scene.threshold / 2:.3g} keeps more"
    )


def _number(value: float | np.floating) -> float | None:
    """A number for JSON, which has no NaN and no infinity."""
    return round(float(value), 5) if np.isfinite(value) else None
