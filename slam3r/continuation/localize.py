"""New pictures placed in a finished run: a pose with its confidence for each, or the reason why not.

import slam3r
for placed in slam3r.localize("out/", ["photo.jpg"]):
    print(placed.sentence())
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from common.data.sources.frame_source import FrameSource
from common.errors import ConfigurationError
from common.export.result_folder import TRAJECTORY
from common.export.trajectory import write_tum
from common.files import write_json
from common.geometry.colmap_backend import BackendMissingError, pycolmap_module
from common.known.camera_files import read_cameras
from common.progress import ProgressReporter
from common.revision import code_revision
from slam3r.continuation.finished_run import FinishedRun, read_finished_run
from slam3r.continuation.landmarks import find_landmarks
from slam3r.continuation.localizing import Localizer, Placed
from slam3r.continuation.new_pictures import Pictures, open_pictures
from slam3r.continuation.query_camera import QueryCameras
from slam3r.continuation.settings import PlacingSettings

LOCALIZED = "localized.json"
"""File of poses and refusals that `write_localized` writes, beside the poses alone."""


def localize(
    run: str | Path | FinishedRun,
    pictures: Pictures | FrameSource,
    *,
    cameras: str | Path | None = None,
    focal: float | None = None,
    settings: PlacingSettings | None = None,
    progress: bool = True,
) -> list[Placed]:
    """Find the poses of pictures in the world of a finished run.

    Args:
        run: result folder of `slam3r.reconstruct`, with pictures in files.
        pictures: image files, a folder, a pattern or a video.
        cameras: known intrinsics of the pictures, see `common.known.camera_files.read_cameras`; their poses are not
            used.
        focal: focal length of the pictures, pixels. Without both, it is the run's where a picture has the size and
            EXIF model of one of the run's, and else estimated with the pose.
        settings: thresholds.
        progress: report it.

    Returns:
        A pose or a refusal for each picture, in their order.

    Raises:
        InputError: no such run or pictures, or the given cameras are others'.
        ConfigurationError: settings that contradict each other, or pycolmap is not installed.
    """
    settings = settings or PlacingSettings()
    if cameras is not None and focal is not None:
        raise ConfigurationError("cameras and focal both say what the intrinsics are; give one of them")
    need_pycolmap()
    finished = run if isinstance(run, FinishedRun) else read_finished_run(run)
    known = None if cameras is None else read_cameras(cameras)
    with ExitStack() as stack:
        source = pictures
        if not isinstance(source, FrameSource):
            source = stack.enter_context(open_pictures(source))
        source.validate()
        localizer = open_localizer(finished, QueryCameras(finished.frames, known, focal), settings, progress)
        return list(_place_all(localizer, source, source.length, progress))


def open_localizer(run: FinishedRun, cameras: QueryCameras, settings: PlacingSettings, progress: bool) -> Localizer:
    """Read the pictures of a run, so that others can be placed among them."""
    with ProgressReporter("read the run", 1.0, show=progress) as reporter:
        landmarks = find_landmarks(
            run, settings.pictures, settings.matching, lambda share: reporter.at("read the run", share)
        )
    return Localizer(landmarks, cameras, settings)


def _place_all(localizer: Localizer, frames: FrameSource, total: float | None, progress: bool) -> Iterator[Placed]:
    with ProgressReporter("localize", total, "picture", show=progress) as reporter:
        for frame in frames:
            yield localizer.place(frame)
            reporter.update()


def need_pycolmap() -> None:
    """Raise a ConfigurationError where pycolmap is not installed."""
    try:
        pycolmap_module()
    except BackendMissingError as error:
        raise ConfigurationError(str(error)) from error


def write_localized(folder: Path, run: FinishedRun, placed: Sequence[Placed]) -> list[Path]:
    """Write ``localized.json`` and, in TUM's format, ``trajectory.txt``; a line of it has the number of its
    picture as its time.

    Args:
        folder: created if needed; earlier files of these names are replaced.
        run: that the poses refer to.
        placed: in the order of the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [number for number, one in enumerate(placed) if one.camera_to_world is not None]
    poses = np.array([placed[number].camera_to_world for number in numbers]).reshape(-1, 4, 4)
    unit = run.summary.get("unit")
    write_json(
        folder / LOCALIZED,
        {
            "run": str(run.folder.resolve()),
            "refined": run.is_refined,
            "unit": unit.get("sentence") if isinstance(unit, dict) else None,
            "axes": "camera-to-world, OpenCV (x right, y down, z forward), in the run's world",
            "pictures": [_entry(one) for one in placed],
            "revision": code_revision(),
        },
    )
    write_tum(folder / TRAJECTORY, np.array(numbers, np.float64), poses)
    return [folder / LOCALIZED, folder / TRAJECTORY]


def _entry(placed: Placed) -> dict[str, Any]:
    pose = placed.camera_to_world
    return {
        "name": placed.name,
        "confidence": placed.confidence,
        "refused": placed.refused or None,
        "camera_to_world": None if pose is None else pose.tolist(),
        "size": list(placed.size),
        "focal": placed.focal if pose is not None else None,
        "focal_by": placed.focal_by,
        "inliers": placed.inliers,
        "matched": placed.matched,
        "cells": placed.cells,
        "error": placed.error,
        "pictures": list(placed.pictures),
    }
