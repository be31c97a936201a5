"""More pictures into the world of a finished run: both are reconstructed together, with the run's cameras known."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.configuration import to_dataclass
from common.data.sources.frame_source import FrameSource
from common.data.sources.image_files import ImageFileSource
from common.errors import InputError
from common.export.result_folder import MESH
from common.files import check_apart
from common.known.settings import KnownSettings
from common.paths import user_path
from common.progress import ProgressReporter
from common.refinement.settings import Mode
from slam3r.api import reconstruct
from slam3r.continuation.finished_run import FinishedRun, read_finished_run
from slam3r.continuation.joined_source import CamerasOfRun, JoinedSource
from slam3r.continuation.localize import need_pycolmap, open_localizer
from slam3r.continuation.localizing import Placed
from slam3r.continuation.names import prefix_of_new
from slam3r.continuation.new_pictures import Pictures, open_pictures
from slam3r.continuation.query_camera import QueryCameras
from slam3r.continuation.scene_of_run import settings_of_run, unit_of_run
from slam3r.continuation.settings import OldPoses, PlacingSettings
from slam3r.pretrained import ModelChoice
from slam3r.reconstruction import Networks
from slam3r.scene.known.unit import Unit
from slam3r.scene.outputs import COLMAP, DEPTHS, IMAGES, PREDICTIONS, RESULTS
from slam3r.scene.scene import Scene
from slam3r.scene.settings import ExportSettings, RunSettings

_TRIED = 12
"""New pictures that are placed in the run before any long work, at even distances."""
_SIGMA = 0.01
"""Standard deviation of the run's positions with ``poses=prior``, over the extent of its path."""


def extend(
    run: str | Path | FinishedRun,
    pictures: Pictures | FrameSource,
    output: str | Path,
    *,
    every: int = 1,
    model: ModelChoice | Networks | None = None,
    refinement: Mode | None = None,
    poses: OldPoses = "fixed",
    sigma: float | None = None,
    export: ExportSettings | Mapping[str, Any] | None = None,
    settings: PlacingSettings | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Scene:
    """Reconstruct the pictures of a finished run together with more of the same place, in the run's world.

    Poses and intrinsics of a refined run are known, so they stay, and the new frames are adjusted to them. The scene of
    an unrefined run is reconstructed as a whole, and moved to the run's cameras as a whole.

    Args:
        run: result folder of `slam3r.reconstruct`, with pictures in files.
        pictures: image files, a folder, a pattern or a video.
        output: folder for the result of both.
        every: take every n-th new picture.
        model: see `slam3r.reconstruct`; None for the run's own.
        refinement: mode; None refines where the run was refined.
        poses: fixed, or prior: those of the run may be adjusted within about `sigma`.
        sigma: standard deviation of the run's positions, in its unit; None for a hundredth of its path's extent.
        export: fields of `ExportSettings`; what the run wrote is written in any case.
        settings: of the check that the pictures show what the run shows.
        overwrite: replace the results of an earlier run there.
        **options: fields of `RunSettings`, but for the size, which is the run's.

    Raises:
        InputError: no such run or pictures, the output is taken, or the new pictures show another place.
        ConfigurationError: a setting does not fit, or pycolmap is not installed.
    """
    need_pycolmap()
    finished = run if isinstance(run, FinishedRun) else read_finished_run(run)
    folder, wanted = user_path(output), as_before(finished, to_dataclass(export or {}, ExportSettings))
    with ExitStack() as stack:
        more = pictures
        if not isinstance(more, FrameSource):
            more = stack.enter_context(open_pictures(more, every))
        more.validate()
        check_apart(folder, [finished.folder, *more.folders])
        folders = ((COLMAP, wanted.colmap), (IMAGES, wanted.images), (DEPTHS, wanted.depths))
        RESULTS.check(folder, overwrite, [name for name, is_wanted in folders if is_wanted])
        given = to_dataclass(options, RunSettings)
        _require_overlap(finished, more, settings or PlacingSettings(), given.progress)
        names = more.names if isinstance(more, ImageFileSource) else None
        prefix = prefix_of_new((frame.name for frame in finished.frames), names, "more")
        cameras = CamerasOfRun(finished)
        mode: Mode = refinement or ("auto" if finished.is_refined else "off")
        return reconstruct(
            JoinedSource(finished, more, prefix, cameras),
            _model(finished) if model is None else model,
            folder,
            settings=settings_of_run(finished),
            export=wanted,
            refinement=mode,
            cameras=cameras,
            known=_trust(finished, mode, poses, sigma),
            save_predictions=PREDICTIONS in finished.written,
            overwrite=overwrite,
            before_writing=lambda scene: _tell(scene, finished),
            **vars(replace(given, size=_size(finished, given))),
        )


def as_before(run: FinishedRun, export: ExportSettings) -> ExportSettings:
    """Export settings that also write everything that a run wrote."""
    written = run.written
    return replace(
        export,
        colmap=export.colmap or COLMAP in written,
        depths=export.depths or DEPTHS in written,
        mesh=export.mesh or MESH in written,
        images=True if IMAGES in written and export.images is None else export.images,
    )


def _require_overlap(run: FinishedRun, more: FrameSource, settings: PlacingSettings, progress: bool) -> None:
    """Raise an InputError where none of a few new pictures can be placed in the run."""
    localizer = open_localizer(run, QueryCameras(run.frames), settings, progress)
    step = max(1, -(-int(more.length or _TRIED) // _TRIED))
    tried: list[Placed] = []
    with ProgressReporter("compare", min(_TRIED, more.length or _TRIED), "picture", show=progress) as reporter:
        for number, frame in enumerate(more):
            if number % step == 0:
                tried.append(localizer.place(frame))
                reporter.update()
            if len(tried) >= _TRIED:
                break
    if not any(one.camera_to_world is not None for one in tried):
        reason = tried[0].refused if tried else "there is none"
        raise InputError(
            f"the pictures do not show what {run.folder} shows: none of {len(tried)} can be placed in it ({reason})"
        )


def _trust(run: FinishedRun, mode: Mode, poses: OldPoses, sigma: float | None) -> KnownSettings:
    """Trust in the run's poses: those of networks are too far off to build on."""
    if not run.is_refined or mode == "off":
        return KnownSettings(poses="align")
    if poses == "fixed":
        return KnownSettings(poses="fixed")
    extent = float(np.ptp(run.poses[:, :3, 3], axis=0).max())
    return KnownSettings(poses="prior", sigma=sigma or max(_SIGMA * extent, 1e-9))


def _tell(scene: Scene, run: FinishedRun) -> None:
    """Give the scene the unit of the run, and note what the scene was made of."""
    unit, old = unit_of_run(run), len(run.frames)
    scene.unit = (
        Unit(note=f"the unit is that of {run.name}")
        if unit.source == "none"
        else Unit(unit.source, scene.unit.factor, unit.spread, f"as in {run.name}")
    )
    new = [frame for frame in scene.frames if frame.index >= old]
    scene.made_from = {
        "extend": {
            "run": str(run.folder.resolve()),
            "frames": [min(old, len(scene.frames)), len(new)],
            "new_frames_without_pose": [frame.name for frame in new if frame.camera_to_world is None],
            "new_frames_not_connected": [frame.name for frame in new if not frame.connected],
        }
    }


def _model(run: FinishedRun) -> str:
    """Name of the model that made a run."""
    model = run.summary.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{run.folder}: its summary.json does not name the model; give model=...")
    return name


def _size(run: FinishedRun, given: RunSettings) -> tuple[int, int]:
    size = run.summary.get("network_size")
    return (int(size[0]), int(size[1])) if isinstance(size, list) and len(size) == 2 else given.size
