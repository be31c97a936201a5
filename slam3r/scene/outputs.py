"""The result folder of a reconstruction.

Every file is written atomically, the most valuable first, ``summary.json`` last: a folder with a summary is complete. A
picture that cannot be drawn is a warning, not an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.sources.images import is_plain_file
from common.drawing.preview import render_preview
from common.export.colmap import make_colmap_model, write_colmap
from common.export.colmap_tracks import TrackedModel, write_tracked_model
from common.export.nerfstudio import write_nerfstudio
from common.export.ply import write_mesh_ply, write_ply
from common.export.result_folder import (
    MESH,
    POINTS,
    SUMMARY,
    TRAJECTORY,
    TRANSFORMS,
    UNREFINED_POINTS,
    UNREFINED_TRAJECTORY,
    ResultFolder,
    write_image,
)
from common.export.trajectory import write_tum
from common.files import relative_name, write_json
from common.paths import user_path
from slam3r.scene.frame_strip import draw_strip
from slam3r.scene.scene_data import SceneData, SceneFrame, SceneTracks
from slam3r.scene.settings import ExportSettings
from slam3r.scene.summary import find_warnings, summarize

logger = logging.getLogger(__name__)

PREVIEW, STRIP = "preview.png", "frames.png"
COLMAP, PREDICTIONS, IMAGES, DEPTHS = "sparse/0", "predictions", "images", "depths"
RESULTS = ResultFolder(
    (SUMMARY, POINTS, TRAJECTORY, TRANSFORMS, PREVIEW, STRIP, MESH, UNREFINED_POINTS, UNREFINED_TRAJECTORY),
    (COLMAP, PREDICTIONS, IMAGES, DEPTHS),
)
"""Files and folders of a reconstruction."""
STREAMED = (PREDICTIONS, IMAGES, DEPTHS)
"""Folders that are filled while a run goes on."""
_PREVIEW_POINTS = 600_000
_NO_PICTURES = "its pictures are in no files that other programs read the same; export.images=true writes them"


def write_results(
    scene: SceneData,
    folder: str | Path,
    export: ExportSettings | None = None,
) -> list[Path]:
    """Write a reconstruction to a folder, in place of what an earlier run left there.

    Args:
        scene: what to write.
        folder: created if needed.
        export: choice of optional files.

    Returns:
        The files and folders that were written.
    """
    folder = user_path(folder)
    with RESULTS.staged(folder) as stage:
        names = stage_results(scene, stage, folder, export or ExportSettings())
    return [folder / name for name in names]


def stage_results(scene: SceneData, stage: Path, folder: Path, export: ExportSettings) -> list[str]:
    """Write a reconstruction to the folder that will take the place of its results (`ResultFolder.staged`).

    Args:
        scene: what to write.
        stage: to write to. Folders that were filled while the frames came (`STREAMED`) are there already.
        folder: where the results will be.
        export: choice of optional files.

    Returns:
        Names of all files and folders of the result.
    """
    names = [name for name in STREAMED if (stage / name).is_dir()]
    images = stage / IMAGES if IMAGES in names else None
    warnings, pictures = find_warnings(scene), has_pictures(scene, images)
    for name, wanted, write in _steps(scene, export, folder, images):
        if not wanted:
            continue
        if name in (TRANSFORMS, COLMAP) and not pictures:
            warnings.append(f"{name} was left out, {_NO_PICTURES}")
            continue
        try:
            write(stage / name)
            names.append(name)
        except Exception as error:  # a full disk must end the run, a failed drawing must not
            if name not in (PREVIEW, STRIP):
                raise
            logger.warning("%s was not drawn", name, exc_info=True)
            warnings.append(f"{name} was not drawn: {error}")
    for warning in warnings:
        logger.warning("%s", warning)
    write_json(stage / SUMMARY, {**summarize(scene), "written": names, "warnings": [*warnings, *scene.notes]})
    return [*names, SUMMARY]


def _steps(
    scene: SceneData, export: ExportSettings, folder: Path, images: Path | None
) -> list[tuple[str, bool, Callable[[Path], None]]]:
    """Name of each file, whether it is wanted, and the function that writes it."""
    before = scene.unrefined if export.unrefined_points else None
    steps: list[tuple[str, bool, Callable[[Path], None]]] = [
        (POINTS, True, lambda path: write_ply(path, scene.points, scene.colors, scene.confidence)),
        (TRAJECTORY, True, lambda path: _write_poses(scene, scene.camera_to_world, path)),
        (TRANSFORMS, True, lambda path: _write_transforms(scene, path, folder, images)),
        (COLMAP, export.colmap, lambda path: _write_colmap(scene, path, images is not None, export.colmap_points)),
        (MESH, scene.mesh is not None, lambda path: _write_mesh(scene, path)),
        (PREVIEW, export.preview, lambda path: write_image(path, draw_preview(scene))),
        (STRIP, export.strip and bool(scene.strip), lambda path: write_image(path, draw_strip(scene.strip))),
    ]
    if before is not None:
        chosen = _choose(len(before.points), export.unrefined_points)
        columns = [column[chosen] for column in (before.points, before.colors, before.confidence)]
        steps += [
            (UNREFINED_POINTS, True, lambda path: write_ply(path, *columns)),
            (UNREFINED_TRAJECTORY, True, lambda path: _write_poses(scene, before.camera_to_world, path)),
        ]
    return steps


def has_pictures(scene: SceneData, images: Path | None) -> bool:
    """Whether every frame with a pose has a file with the pixels that its camera describes.

    Files of cameras name pictures that are there, and whose pixels other programs see as this one does.

    Args:
        scene: the scene.
        images: folder with copies of its frames (`image_name`); None for none.
    """
    return all(
        (images is not None and (images / image_name(frame.number)).is_file())
        or (frame.file is not None and is_plain_file(frame.file))
        for frame in scene.posed
    )


def draw_preview(scene: SceneData) -> NDArray[np.uint8]:
    """(720, 1080, 3) uint8 RGB picture of the cloud with the cameras' path."""
    # The world is a camera's frame, so there is one pose to look from even where none was solved.
    poses = [frame.camera_to_world for frame in scene.posed] or [np.eye(4)]
    chosen = _choose(len(scene.points), _PREVIEW_POINTS)
    return render_preview(scene.points[chosen], scene.colors[chosen], np.array(poses))


def image_path(frame: SceneFrame, folder: Path, images: Path | None) -> str:
    """Path of a frame's picture relative to the result folder: in ``images`` there, or else its own."""
    if frame.file is None or (images is not None and (images / image_name(frame.number)).exists()):
        return f"{IMAGES}/{image_name(frame.number)}"
    return relative_name(frame.file, folder)


def image_name(number: int) -> str:
    """File name in ``images`` of the frame of this number in the input."""
    return f"{number:06d}.jpg"


def _write_poses(scene: SceneData, poses: NDArray[np.float64], path: Path) -> None:
    """Write poses (N, 4, 4) of all frames, leaving out unknown ones."""
    known = np.isfinite(poses).all(axis=(1, 2))
    write_tum(path, np.array([frame.timestamp for frame in scene.frames])[known], poses[known])


def _write_transforms(scene: SceneData, path: Path, folder: Path, images: Path | None) -> None:
    poses, intrinsics, sizes = _cameras(scene)
    names = [image_path(frame, folder, images) for frame in scene.posed]
    radial = np.array([frame.radial_distortion for frame in scene.posed])
    write_nerfstudio(path, poses, intrinsics, sizes, names, ply_path=POINTS, radial_distortion=radial)


def _write_mesh(scene: SceneData, path: Path) -> None:
    assert scene.mesh is not None
    write_mesh_ply(path, scene.mesh.vertices, scene.mesh.triangles, scene.mesh.colors)


def _write_colmap(scene: SceneData, path: Path, exported: bool, max_points: int) -> None:
    names = [image_name(f.number) if exported or f.file is None else f.name for f in scene.posed]
    if scene.tracks is not None:
        write_tracked_model(path, _tracked_model(scene, scene.tracks, names))
        return
    chosen = _choose(len(scene.points), max_points)
    model = make_colmap_model(*_cameras(scene), names, scene.points[chosen], scene.colors[chosen])
    write_colmap(path, model)


def _tracked_model(scene: SceneData, tracks: SceneTracks, names: list[str]) -> TrackedModel:
    """The frames with a pose, and what refinement triangulated from them."""
    posed = scene.posed
    rows = {frame.index: row for row, frame in enumerate(posed)}
    seen = np.array([index in rows for index in tracks.frame], bool)
    return TrackedModel(
        np.array([frame.camera_to_world for frame in posed]).reshape(-1, 4, 4),
        np.array([frame.intrinsics for frame in posed]).reshape(-1, 3, 3),
        np.array([frame.radial_distortion for frame in posed]),
        np.array([frame.original_size for frame in posed], np.int64).reshape(-1, 2),
        names,
        tracks.points,
        tracks.colors,
        tracks.point[seen],
        np.array([rows[index] for index in tracks.frame[seen]], np.int64),
        tracks.xy[seen],
    )


def _cameras(scene: SceneData) -> tuple[NDArray, NDArray, Any]:
    """Poses, intrinsics and sizes of the frames with a pose: one camera for all, or one each if theirs differ."""
    posed = scene.posed
    poses = np.array([frame.camera_to_world for frame in posed]).reshape(-1, 4, 4)
    sizes = [frame.original_size for frame in posed]
    cameras = {(*frame.original_size, *frame.intrinsics.ravel(), frame.radial_distortion) for frame in posed}
    if len(cameras) <= 1:
        first = posed[0] if posed else scene.frames[0]
        return poses, first.intrinsics, first.original_size
    return poses, np.array([frame.intrinsics for frame in posed]), np.array(sizes, np.int64)


def _choose(count: int, wanted: int) -> slice | NDArray[np.int64]:
    if count <= wanted:
        return slice(None)
    return np.sort(np.random.default_rng(0).choice(count, wanted, replace=False, shuffle=False))
