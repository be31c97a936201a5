"""A finished run as a scene that can be written again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.configuration import to_dataclass
from common.errors import ConfigurationError, InputError
from common.meters import MemoryPeak
from common.refinement.outcome import Verdict
from slam3r.continuation.finished_run import FinishedRun, RunFrame
from slam3r.reconstruction import ReconstructionSettings
from slam3r.scene.known.unit import Unit
from slam3r.scene.scene import Scene
from slam3r.scene.scene_data import SceneFrame


def scene_of_run(run: FinishedRun) -> Scene:
    """The scene of a finished run: points, the frames that have a pose, and what the summary tells.

    Frames without a pose, tracks, pictures of depth and the scene before refinement are in no file that is read here.

    Raises:
        InputError: the summary is not that of a run.
    """
    summary, cloud = run.summary, run.points
    count = len(cloud.points)
    try:
        told = {str(entry["name"]): entry for entry in summary["per_frame"]}
        return Scene(
            points=np.asarray(cloud.points, np.float32),
            colors=np.full((count, 3), 128, np.uint8) if cloud.colors is None else np.asarray(cloud.colors, np.uint8),
            confidence=np.ones(count, np.float32)
            if cloud.confidence is None
            else np.asarray(cloud.confidence, np.float32),
            frames=[_frame(number, frame, told.get(frame.name, {})) for number, frame in enumerate(run.frames)],
            network_intrinsics=np.array(summary["network_intrinsics"], np.float64).reshape(3, 3),
            network_size=(int(summary["network_size"][0]), int(summary["network_size"][1])),
            stride=int(summary["stride"]),
            initial_window=tuple(int(index) for index in summary["initial_window"]),
            initial_reference=int(summary["initial_reference"]),
            settings=settings_of_run(run),
            threshold=float(summary["confidence_threshold"]),
            num_confident=int(summary["confident_points"]),
            highest_confidence=float(summary["confidence"]["highest_point"] or 0),
            seconds={str(stage): float(value) for stage, value in summary["seconds"].items()},
            total_seconds=float(summary["total_seconds"]),
            peak_memory=MemoryPeak(0, 0),
            model=dict(summary["model"]),
            verdict=_fields(summary["verdict"], Verdict),
            unit=unit_of_run(run),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ConfigurationError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise InputError(f"{run.folder}: its summary.json is not that of a reconstruction ({reason})") from error


def settings_of_run(run: FinishedRun) -> ReconstructionSettings:
    """Settings of the reconstruction that made a run; the usual ones where the summary does not tell them."""
    told = run.summary.get("settings")
    return to_dataclass(told if isinstance(told, dict) else {}, ReconstructionSettings, "settings")


def unit_of_run(run: FinishedRun) -> Unit:
    """The unit of length of a run."""
    told = run.summary.get("unit")
    return _fields(told, Unit) if isinstance(told, dict) else Unit()


def _fields(told: Mapping[str, Any], cls: type) -> Any:
    """A dataclass from the values of the same names in a summary."""
    names = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return to_dataclass({key: value for key, value in told.items() if key in names}, cls)


def _frame(number: int, frame: RunFrame, told: Mapping[str, Any]) -> SceneFrame:
    def value(key: str) -> float:
        found = told.get(key)
        return float("nan") if found is None else float(found)

    return SceneFrame(
        index=number,
        name=frame.name,
        timestamp=frame.timestamp,
        status=told.get("status", "registered"),
        keyframe=bool(told.get("keyframe", False)),
        mean_confidence=value("mean_confidence"),
        min_confidence=value("min_confidence"),
        local_mean_confidence=value("local_mean_confidence"),
        pose_inliers=value("pose_inliers"),
        camera_to_world=frame.camera_to_world,
        number=number,
        original_size=frame.size,
        intrinsics=frame.lens.matrix,
        file=frame.file,
        radial_distortion=frame.radial_distortion,
    )
