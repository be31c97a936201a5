"""Two finished runs into one: the second moved into the world of the first, and their cameras adjusted together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from common.configuration import to_dataclass
from common.data.sources.images import read_image
from common.errors import ConfigurationError, InputError
from common.export.result_folder import write_image
from common.files import check_apart
from common.paths import user_path
from common.progress import ProgressReporter
from common.refinement.outcome import Verdict
from common.refinement.settings import CameraSettings
from slam3r.continuation.finished_run import FinishedRun, read_finished_run
from slam3r.continuation.landmarks import Landmarks, find_landmarks
from slam3r.continuation.localize import need_pycolmap
from slam3r.continuation.merging.joint_adjustment import AdjustedCameras, adjust_together, colored
from slam3r.continuation.merging.similarity import FoundSimilarity, find_similarity, shared_points
from slam3r.continuation.names import prefix_of_new
from slam3r.continuation.scene_of_run import scene_of_run
from slam3r.continuation.settings import MergingSettings
from slam3r.scene.known.unit import Unit
from slam3r.scene.known.world import Movable
from slam3r.scene.outputs import COLMAP, IMAGES, RESULTS, image_name, stage_results
from slam3r.scene.scene import Scene
from slam3r.scene.scene_data import SceneFrame, SceneTracks
from slam3r.scene.settings import ExportSettings
from slam3r.scene.sinks import PointStore

_NOT_MERGED = "meshes, depth maps, predictions and scenes before refinement are not merged; they stay with the two runs"
_ALONE = 1.0
"""Confidence of a point that no other view confirms, in a scene where confidence counts views."""


def merge(
    first: str | Path,
    second: str | Path,
    output: str | Path | None = None,
    *,
    export: ExportSettings | dict[str, Any] | None = None,
    settings: MergingSettings | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Scene:
    """Merge two finished runs that overlap.

    Args:
        first: result folder of the run whose world and unit are kept.
        second: result folder of the run that is moved.
        output: folder for the result; None writes nothing.
        export: fields of `ExportSettings`; a COLMAP model is written unless it says otherwise.
        settings: how the similarity is found.
        overwrite: replace the results of an earlier run there.
        progress: report it.

    Returns:
        Points and frames of both. `made_from` tells the similarity and the evidence for it.

    Raises:
        InputError: a folder holds no such run, the output is taken, or the runs do not overlap.
    """
    need_pycolmap()
    export = to_dataclass({"colmap": True} if export is None else export, ExportSettings)
    settings = settings or MergingSettings()
    if export.depths or export.mesh:
        raise ConfigurationError(f"export.depths, export.mesh: {_NOT_MERGED}")
    folders = [user_path(first), user_path(second)]
    if folders[0].resolve() == folders[1].resolve():
        raise InputError(f"{first} and {second} are the same run; give two")
    runs = [read_finished_run(folder) for folder in folders]
    folder = None if output is None else user_path(output)
    if folder is not None:
        check_apart(folder, folders)
        RESULTS.check(
            folder, overwrite, [name for name, on in ((COLMAP, export.colmap), (IMAGES, export.images)) if on]
        )
    landmarks = [_read(run, settings, progress) for run in runs]
    with ProgressReporter("match", 1.0, show=progress) as reporter:
        shared = shared_points(landmarks[0], landmarks[1], settings, lambda share: reporter.at("match", share))
    found = find_similarity(shared, settings)[0]
    adjusted = _adjusted(runs, found, settings, progress) if settings.adjust else None
    scene = merged_scene(runs, found, export, adjusted)
    scene.tracks = _some_points(scene, export.colmap_points) if scene.tracks is None else scene.tracks
    if folder is not None:
        _write(scene, folder, export)
    return scene


def _read(run: FinishedRun, settings: MergingSettings, progress: bool) -> Landmarks:
    stage = f"read {run.name}"
    with ProgressReporter(stage, 1.0, show=progress) as reporter:
        return find_landmarks(run, settings.pictures, settings.matching, lambda share: reporter.at(stage, share))


def _adjusted(
    runs: Sequence[FinishedRun], found: FoundSimilarity, settings: MergingSettings, progress: bool
) -> AdjustedCameras | None:
    """Cameras of both runs adjusted together; None where they stay: those of a network are too far off."""
    if not all(run.is_refined for run in runs):
        return None
    poses = np.concatenate([runs[0].poses, found.similarity.poses(runs[1].poses)])
    with ProgressReporter("adjust", 1.0, show=progress) as reporter:
        return adjust_together(
            [*runs[0].frames, *runs[1].frames],
            poses,
            len(runs[0].frames),
            CameraSettings(matching=settings.matching),
            lambda stage, share: reporter.at(f"adjust: {stage}", share),
        )


def merged_scene(
    runs: Sequence[FinishedRun],
    found: FoundSimilarity,
    export: ExportSettings,
    adjusted: AdjustedCameras | None = None,
) -> Scene:
    """Points and frames of two runs in the first one's world.

    Args:
        runs: two.
        found: similarity from the second's world to the first's.
        export: largest number of points.
        adjusted: cameras of both, adjusted together; None leaves them as they are.
    """
    one, two = scenes = [scene_of_run(run) for run in runs]
    Movable(two, None, None).move(found.similarity)
    if adjusted is not None:
        take_cameras(scenes, adjusted)
    counts_views = [scene.verdict.applied != "none" for scene in scenes]
    if any(counts_views) and not all(counts_views):  # one confidence must not mean two things
        for scene, counts in zip(scenes, counts_views):
            if not counts:
                scene.confidence = np.full(len(scene.points), _ALONE, np.float32)
                scene.threshold = 0.0
    threshold = min(scene.threshold for scene in scenes)
    store = PointStore(threshold, export.max_points)
    for scene in scenes:
        store.add_points(scene.points, scene.colors, scene.confidence)
    one.points, one.colors, one.confidence = store.points, store.colors, store.confidence
    one.threshold, one.num_confident = threshold, one.num_confident + two.num_confident
    one.highest_confidence = max(one.highest_confidence, two.highest_confidence)
    one.frames = joined_frames(one.frames, two.frames, runs[1].name)
    if adjusted is not None:
        one.tracks = colored(adjusted.tracks, one.points, one.colors)
    one.verdict = _verdict(runs, scenes, found, adjusted)
    one.notes, scale = [_NOT_MERGED], found.similarity.scale
    if one.unit.source != "none" and two.unit.source != "none":
        one.notes.append(f"both runs have a known unit; the similarity says that these differ by {abs(scale - 1):.1%}")
    elif two.unit.source != "none":
        one.unit = Unit(note=f"times {1 / scale:.6g} they are in the second run's unit, which is known")
    one.total_seconds = one.total_seconds + two.total_seconds
    one.made_from = {
        "merge": {
            "runs": [str(run.folder.resolve()) for run in runs],
            "frames": [len(run.frames) for run in runs],
            "similarity": {
                "scale": found.similarity.scale,
                "rotation": found.similarity.rotation.tolist(),
                "translation": found.similarity.translation.tolist(),
                "direction": "first = scale * rotation @ second + translation",
            },
            "matched": found.matched,
            "inliers": found.inliers,
            "pictures": list(found.pictures),
            "residual_in_first": found.residual,
            "residual_in_second": found.residual_second,
            "residual_relative": found.relative,
            "adjusted": None
            if adjusted is None
            else {
                "moved": adjusted.moved,
                "epipolar_error_before": adjusted.error_before,
                "epipolar_error": adjusted.error_after,
            },
        }
    }
    return one


def take_cameras(scenes: Sequence[Scene], adjusted: AdjustedCameras) -> None:
    """Give two scenes in one world their adjusted cameras; their points follow."""
    start = 0
    for scene in scenes:
        rows = range(start, start + len(scene.frames))
        scene.points = adjusted.move(scene.points, rows)
        scene.frames = [
            replace(
                frame,
                camera_to_world=adjusted.after[row],
                intrinsics=adjusted.intrinsics[row],
                radial_distortion=float(adjusted.radial_distortion[row]),
            )
            for frame, row in zip(scene.frames, rows, strict=True)
        ]
        start = rows.stop


def joined_frames(first: Sequence[SceneFrame], second: Sequence[SceneFrame], place: str) -> list[SceneFrame]:
    """Frames of both runs, one run after the other: indices and numbers continue, names differ, times increase.

    Args:
        first: of the one run.
        second: of the other.
        place: name of the other run, which goes before the names of its pictures where one of them is in both.
    """
    prefix = prefix_of_new((frame.name for frame in first), [frame.name for frame in second], place)
    start, own = _times(first), _times(second)
    shift = 0.0 if not len(start) or not len(own) or own[0] > start[-1] else start[-1] - own[0] + _step(start)
    rows = [(frame, "", 0.0) for frame in first] + [(frame, prefix, shift) for frame in second]
    return [
        replace(frame, index=number, number=number, name=f"{prefix}{frame.name}", timestamp=frame.timestamp + later)
        for number, (frame, prefix, later) in enumerate(rows)
    ]


def _times(frames: Sequence[SceneFrame]) -> list[float]:
    return [frame.timestamp for frame in frames]


def _step(times: Sequence[float]) -> float:
    steps = [later - earlier for earlier, later in pairwise(times)]
    return float(np.median(steps)) if steps else 1.0


def _verdict(
    runs: Sequence[FinishedRun], scenes: Sequence[Scene], found: FoundSimilarity, adjusted: AdjustedCameras | None
) -> Verdict:
    """The verdicts of both runs taken together; of the merged scene, only adjusted cameras are checked anew."""
    one, two = (scene.verdict for scene in scenes)
    agrees = None if one.agrees is None or two.agrees is None else one.agrees and two.agrees
    errors = [error for error in (one.epipolar_error, two.epipolar_error) if error is not None]
    order = ("none", "cameras", "dense")
    return Verdict(
        applied=min((one.applied, two.applied), key=order.index),
        agrees=agrees,
        epipolar_error=max(errors, default=None) if adjusted is None else adjusted.error_after,
        frames_checked=one.frames_checked + two.frames_checked,
        reason=f"the worse of two runs, {runs[0].name} and {runs[1].name}, merged: {found.sentence()}"
        + ("" if adjusted is None else f"; {adjusted.sentence()}"),
    )


def _some_points(scene: Scene, most: int) -> SceneTracks:
    """Points for the COLMAP model: a choice of the merged cloud; they have no observations."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(scene.points))[:most])
    nothing = np.zeros(0, np.int64)
    points = scene.points[chosen].astype(np.float64)
    return SceneTracks(points, scene.colors[chosen], nothing, nothing, np.zeros((0, 2)))


def _write(scene: Scene, folder: Path, export: ExportSettings) -> None:
    with RESULTS.staged(folder) as stage:
        if export.images:
            for frame in scene.frames:
                assert frame.file is not None
                write_image(stage / IMAGES / image_name(frame.number), read_image(frame.file))
        stage_results(scene, stage, folder, export)
