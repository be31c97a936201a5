"""One call from pictures to a scene of semantic Gaussians.

import uni3r
scene = uni3r.reconstruct("my_photos/", model="uni3r_tiny")
scene.save("out/")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common.configuration import to_dataclass
from common.data.sources.open import open_source
from common.device import choose_device
from common.errors import CheckpointError, ConfigurationError
from common.files import check_apart
from common.known.camera_files import read_cameras
from common.known.cameras import KnownCameras
from common.paths import user_path
from uni3r.pretrained import ModelChoice, ReadyUni3R, load_teacher, ready_model
from uni3r.scene.build import build_scene
from uni3r.scene.outputs import RESULTS, write_results
from uni3r.scene.scene import Scene
from uni3r.scene.settings import ExportSettings, RunSettings
from uni3r.semantics.labels import load_label_set
from uni3r.semantics.teacher import Teacher
from uni3r.semantics.word_search import WordSearch, unknown_words_note


def reconstruct(
    source: Any,
    model: ModelChoice = "uni3r_tiny",
    output: str | Path | None = None,
    *,
    cameras: str | Path | KnownCameras | None = None,
    export: ExportSettings | Mapping[str, Any] | None = None,
    teacher_source: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Scene:
    """Build a scene from pictures, and write it if there is an output folder.

    What can be wrong with the input is found before the work starts, as far as that is possible.

    Args:
        source: a folder, a pattern, a text list, a video, images in memory or a `FrameSource`; see
            `common.data.sources.open.open_source`.
        model: a name such as ``uni3r_tiny``, a YAML file, weights, or a model loaded before.
        output: folder for Gaussians, pictures and films; None writes nothing (`Scene.save` does it later).
        cameras: known poses and intrinsics: a ``transforms.json``, a COLMAP model, a folder in ScanNet's or
            TUM's layout.
        export: fields of `ExportSettings`: queries, films.
        teacher_source: weights of the teacher that the model's words come from, where it needs any.
        overwrite: replace the results of an earlier run.
        **options: fields of `RunSettings`: device, size, views, field_of_view, refine, matched, progress.

    Raises:
        InputError: the source or the cameras have nothing usable, or the output holds results already.
        CheckpointError: weights are missing, damaged or of another model.
        ConfigurationError: a setting does not fit.
    """
    settings, export = to_dataclass(options, RunSettings), to_dataclass(export or {}, ExportSettings)
    if output is not None:
        RESULTS.check(output, overwrite)
        if isinstance(cameras, (str, Path)):
            given = user_path(cameras)
            check_apart(output, [given if given.is_dir() else given.parent])
    choose_device(settings.device)
    known = read_cameras(cameras) if isinstance(cameras, (str, Path)) else cameras
    with ExitStack() as stack:
        frames = open_source(source)
        if frames is not source:
            stack.enter_context(frames)
        if output is not None:
            check_apart(output, frames.folders)
        frames.validate()
        start = time.perf_counter()
        loaded = ready_model(model, settings.size, settings.device)
        teacher, warning = _teacher(loaded, teacher_source, export)
        seconds = time.perf_counter() - start
        scene = build_scene(frames, loaded, teacher, known, settings)
    scene.seconds = {"load model": seconds, **scene.seconds}
    scene.warnings += warning + _unknown_words(scene, export)
    if output is not None:
        write_results(scene, output, export)
    return scene


def _teacher(loaded: ReadyUni3R, source: str | None, export: ExportSettings) -> tuple[Teacher | None, list[str]]:
    """Load the teacher; if it is unavailable and no queries were given, only warn."""
    try:
        return load_teacher(loaded.settings.teacher, source), []
    except (ImportError, CheckpointError, ConfigurationError) as error:
        if export.queries or loaded.network.feature_compressor is not None:
            raise error if not isinstance(error, ImportError) else ConfigurationError(f"queries: {error}") from error
        return None, [f"no segmentation: {error}"]


def _unknown_words(scene: Scene, export: ExportSettings) -> list[str]:
    """A warning about queries that the model does not know, if there are any."""
    if scene.text is None or not export.queries:
        return []
    labels = load_label_set(scene.labels)
    unknown = WordSearch.of(scene.text, export.queries, labels).unknown_words
    return [f"queries: {unknown_words_note(unknown, labels)}"] if unknown else []
