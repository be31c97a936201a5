"""The result folder of a scene: Gaussians, cameras, pictures, films.

Every file is written atomically, the most valuable first, ``summary.json`` last: a folder with a summary is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.sources.images import is_plain_file
from common.data.sources.preprocess import denormalize
from common.drawing.video import video_writer
from common.export.nerfstudio import write_nerfstudio
from common.export.result_folder import GAUSSIANS, SUMMARY, TRAJECTORY, TRANSFORMS, ResultFolder, write_image
from common.export.trajectory import write_tum
from common.files import atomic_folder, relative_name, write_json
from common.paths import user_path
from common.progress import ProgressReporter
from common.views import Cameras
from uni3r.gaussians.files import save_ply, save_splat
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.gltf import save_glb
from uni3r.gaussians.single_scene import with_degree
from uni3r.gaussians.spz import save_spz
from uni3r.rasterization import Rendering
from uni3r.scene.flight import enlarged, flight
from uni3r.scene.object_files import write_objects
from uni3r.scene.objects import find_objects
from uni3r.scene.overview import draw_overview
from uni3r.scene.painter import Painter
from uni3r.scene.pruning import most_important
from uni3r.scene.scene_data import SceneData
from uni3r.scene.settings import ExportSettings

SPLAT, SPZ, GLB = "gaussians.splat", "gaussians.spz", "gaussians.glb"
VIEWS, QUERIES, OVERVIEW = "views", "queries", "overview.png"
OBJECTS, OBJECT_TABLE = "objects", "objects.json"
FILMS = ("color.mp4", "depth.mp4", "features.mp4", "segmentation.mp4")
RESULTS = ResultFolder(
    (SUMMARY, GAUSSIANS, SPLAT, SPZ, GLB, TRAJECTORY, TRANSFORMS, OVERVIEW, OBJECT_TABLE, *FILMS),
    (VIEWS, QUERIES, OBJECTS),
)
"""Files and folders of a scene."""
_LONGEST_STEM = 40
"""Characters of a word in a file name; four bytes each at most."""


def write_results(scene: SceneData, folder: str | Path, export: ExportSettings | None = None) -> list[Path]:
    """Write a scene to a folder, in place of what an earlier run left there.

    Returns:
        The files and folders that were written.

    Raises:
        ConfigurationError: there are queries, and the scene has no text encoder.
    """
    folder, export = user_path(folder), export or ExportSettings()
    painter = Painter(scene, export.queries)
    exported = exported_gaussians(scene, export)
    with RESULTS.staged(folder) as stage:
        written = _write_all(scene, exported, painter, stage, folder, export)
        names = [path.relative_to(stage).as_posix() for path in written]
        asked = {
            "gaussians_written": exported.count,
            "queries": list(export.queries),
            "unknown_words": list(painter.unknown_words),
        }
        write_json(stage / SUMMARY, {**summarize(scene), **asked, "written": names})
    return [folder / name for name in (*names, SUMMARY)]


def _write_all(
    scene: SceneData, exported: Gaussians, painter: Painter, folder: Path, final: Path, export: ExportSettings
) -> list[Path]:
    """Write everything but the summary to a folder that becomes the final one."""
    written = _write_gaussians(exported, folder, export)
    written += _write_cameras(scene, folder, final)
    inputs = Cameras(scene.cameras.camera_to_world[scene.posed], scene.cameras.intrinsics[scene.posed])
    with ProgressReporter("draw", len(scene.posed), "view", show=export.progress) as progress:
        renderings = [scene.render(inputs[view : view + 1])[0] for view in progress.over(range(len(scene.posed)))]
    painter.fit(renderings)
    written += _write_views(scene, painter, renderings, folder)
    write_image(folder / OVERVIEW, draw_overview(scene, painter, export.film_scale))
    written.append(folder / OVERVIEW)
    if export.queries:
        written.append(_write_queries(scene, painter, renderings, folder))
        if export.objects and painter.search is not None:
            found = find_objects(scene, painter.search.decisive, export.object_search)
            written += write_objects(scene, found, painter.unknown_words, folder / OBJECT_TABLE, folder / OBJECTS)
    if export.flight.frames:
        written += _write_films(scene, painter, inputs, folder, export)
    return written


def exported_gaussians(scene: SceneData, export: ExportSettings) -> Gaussians:
    """The Gaussians that files hold: as many, and of as high a degree, as `export` allows."""
    chosen = scene.gaussians if export.max_gaussians is None else most_important(scene, export.max_gaussians)
    return chosen if export.sh_degree is None else with_degree(chosen, export.sh_degree)


def _write_gaussians(gaussians: Gaussians, folder: Path, export: ExportSettings) -> list[Path]:
    save_ply(folder / GAUSSIANS, gaussians, export.features)
    compact = ((export.splat, SPLAT, save_splat), (export.spz, SPZ, save_spz), (export.glb, GLB, save_glb))
    for wanted, name, save in compact:
        if wanted:
            save(folder / name, gaussians)
    return [folder / GAUSSIANS, *(folder / name for wanted, name, _ in compact if wanted)]


def summarize(scene: SceneData) -> dict[str, Any]:
    """Content of ``summary.json``."""
    return {
        "gaussians": scene.gaussians.count,
        "views": [view.name for view in scene.views],
        "without_pose": [view.name for index, view in enumerate(scene.views) if index not in scene.posed],
        "network_size": list(scene.size),
        "network_intrinsics": scene.cameras.intrinsics.cpu().tolist(),
        "intrinsics_from": scene.intrinsics_from,
        "poses_from": scene.poses_from,
        "verdict": {**asdict(scene.verdict), "sentence": scene.verdict.sentence()},
        "median_depth": scene.median_depth,
        "labels": scene.labels if scene.text is not None else None,
        "seconds": {stage: round(seconds, 3) for stage, seconds in scene.seconds.items()},
        "model": scene.model,
        "warnings": scene.warnings,
    }


def _write_cameras(scene: SceneData, folder: Path, final: Path) -> list[Path]:
    posed = scene.posed
    poses = scene.cameras.camera_to_world[posed].cpu().double().numpy()
    views = [scene.views[index] for index in posed]
    write_tum(folder / TRAJECTORY, [float(view.number) for view in views], poses)
    cameras = [_camera_of_file(scene, index, final) for index in posed]
    matrices = np.array([matrix for _, matrix, _ in cameras]).reshape(-1, 3, 3)
    sizes = np.array([size for _, _, size in cameras]).reshape(-1, 2)
    names = [name for name, _, _ in cameras]
    write_nerfstudio(folder / TRANSFORMS, poses, matrices, sizes, names, ply_path=GAUSSIANS)
    return [folder / TRAJECTORY, folder / TRANSFORMS]


def _camera_of_file(scene: SceneData, index: int, folder: Path) -> tuple[str, NDArray[np.float64], tuple[int, int]]:
    """A file with the pixels of a view, and its intrinsics and (height, width): what other programs read.

    That is the picture itself, or, where it comes from a video or other programs see it otherwise (turned photographs,
    HEIC), the network's image of it in `VIEWS`.
    """
    view = scene.views[index]
    if view.file is not None and is_plain_file(view.file):
        return relative_name(view.file, folder), scene.original_intrinsics(index), view.original_size
    return f"{VIEWS}/{index:02d}_input.png", scene.cameras.intrinsics[index].cpu().double().numpy(), scene.size


def _write_views(scene: SceneData, painter: Painter, renderings: list[Rendering], folder: Path) -> list[Path]:
    with atomic_folder(folder / VIEWS) as place:
        for index, rendering in zip(scene.posed, renderings, strict=True):
            stem = f"{index:02d}"
            write_image(place / f"{stem}_input.png", denormalize(scene.images[index].cpu()).numpy())
            for name, picture in painter.paint(rendering).items():
                write_image(place / f"{stem}_{name}.png", picture)
    return [folder / VIEWS]


def _write_queries(scene: SceneData, painter: Painter, renderings: list[Rendering], folder: Path) -> Path:
    with atomic_folder(folder / QUERIES) as place:
        for index, maps in zip(scene.posed, painter.heat_maps(renderings), strict=True):
            for name, picture in zip(word_file_names(painter.queries), maps, strict=True):
                write_image(place / f"{name}_{index:02d}.png", picture)
    return folder / QUERIES


def word_file_names(words: Sequence[str]) -> list[str]:
    """Beginnings of file names for words, different for every word, on file systems that ignore case too."""
    names: list[str] = []
    for word in words:
        stem = "".join(sign if sign.isalnum() else "_" for sign in word)[:_LONGEST_STEM]
        taken, name, number = {name.casefold() for name in names}, stem, 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        names.append(name)
    return names


def _write_films(
    scene: SceneData, painter: Painter, inputs: Cameras, folder: Path, export: ExportSettings
) -> list[Path]:
    settings = export.flight
    path = enlarged(flight(inputs, scene.median_depth, settings), export.film_scale)
    size = (scene.size[0] * export.film_scale, scene.size[1] * export.film_scale)
    names = FILMS if painter.labels is not None else FILMS[:3] if scene.gaussians.features is not None else FILMS[:2]
    names = names if settings.features else FILMS[:2]
    with ExitStack() as stack:
        writers = {name: stack.enter_context(video_writer(folder / name, size, settings.fps)) for name in names}
        progress = stack.enter_context(ProgressReporter("film", settings.frames, "frame", show=export.progress))
        for frame in progress.over(range(settings.frames)):
            pictures = painter.paint(scene.render(path[frame : frame + 1], size)[0])
            for name, write in writers.items():
                write(pictures[name.removesuffix(".mp4")])
    return [folder / name for name in names]
