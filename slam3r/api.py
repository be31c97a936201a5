"""The offline face: one call from images to a scene.

import slam3r
scene = slam3r.reconstruct("my_photos/", model="slam3r_tiny")
scene.save("out/")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.configuration import to_dataclass
from common.data.sources.frame_source import FrameSource
from common.data.sources.image_files import ImageFileSource
from common.data.sources.memory import ArraySource
from common.data.sources.open import open_source
from common.errors import ConfigurationError
from common.files import check_apart
from common.geometry.calibration import Calibration
from common.known.camera_files import read_cameras
from common.known.cameras import KnownCameras
from common.known.depths import DepthFolder, Depths
from common.known.masks import MaskFolder
from common.known.settings import KnownSettings, ScaleSettings
from common.paths import user_path
from common.refinement.settings import Mode, RefinementSettings
from slam3r.pretrained import ModelChoice, ReadySlam3r, ready_model
from slam3r.reconstruction import Networks, ReconstructionSettings, SequenceTooShort
from slam3r.reconstruction.events import Observer
from slam3r.scene.depth_maps import write_depth_maps
from slam3r.scene.fused_mesh import fuse_scene
from slam3r.scene.known.input import Known, KnownInput
from slam3r.scene.known.world import Movable, enter_known_world
from slam3r.scene.outputs import COLMAP, DEPTHS, IMAGES, PREDICTIONS, RESULTS, stage_results
from slam3r.scene.recording import PredictionRecorder
from slam3r.scene.refined import finish_scene, hold_input, resolve_mode
from slam3r.scene.run import OfflineRun
from slam3r.scene.scene import Scene
from slam3r.scene.settings import ExportSettings, RunSettings
from slam3r.scene.sinks import Sink


def reconstruct(
    source: Any,
    model: ModelChoice | Networks = "slam3r_tiny",
    output: str | Path | None = None,
    *,
    settings: ReconstructionSettings | Mapping[str, Any] | None = None,
    export: ExportSettings | Mapping[str, Any] | None = None,
    refinement: Mode | RefinementSettings | Mapping[str, Any] | None = None,
    cameras: str | Path | KnownCameras | None = None,
    camera: Calibration | None = None,
    depths: str | Path | Depths | None = None,
    masks: str | Path | None = None,
    scale: ScaleSettings | Mapping[str, Any] | None = None,
    known: KnownSettings | Mapping[str, Any] | None = None,
    save_predictions: bool = False,
    overwrite: bool = False,
    sinks: Sequence[Sink] = (),
    observer: Observer | None = None,
    before_writing: Callable[[Scene], None] | None = None,
    **options: Any,
) -> Scene:
    """Reconstruct a scene from images or a video.

    What can be wrong with the input is found before the work starts, as far as that is possible. Interrupted with
    Ctrl-C, the call returns (and writes) what is registered so far.

    Args:
        source: a folder, a pattern, a text list, a video, images in memory or a `FrameSource`; see
            `common.data.sources.open.open_source`.
        model: a name such as ``slam3r_tiny``, paths of weights, loaded models; see `slam3r.pretrained.ModelChoice`.
            `Networks` stay on their device and in their dtype.
        output: folder to write the results to; None writes nothing (`Scene.save` does it later).
        settings: changes to the model's `ReconstructionSettings` by name, or settings to take as they are.
        export: fields of `ExportSettings`: which points are kept, which files are written.
        refinement: ``off``, ``cameras``, ``dense`` or ``auto``, or fields of `RefinementSettings`: whether the views
            are made consistent afterwards. None does as the model asks (``auto`` for the small models).
        cameras: known poses and intrinsics: a ``transforms.json``, a COLMAP model, a folder in ScanNet's or TUM's
            layout. Pictures lose their lens's distortion; the result is in the cameras' world.
        camera: calibration of the camera that took all pictures, where only that is known.
        depths: folder of measured depths, see `common.known.depths.DepthFolder`; the result is in metres.
        masks: folder of masks, white where a picture may be used.
        scale: fields of `ScaleSettings`: one known length, which makes the result metric.
        known: fields of `KnownSettings`: how far known poses are trusted, the unit of depth files.
        save_predictions: write every frame's arrays to ``predictions`` in the output folder.
        overwrite: replace the results of an earlier run.
        sinks: additional sinks of registered frames, such as a viewer; their exceptions end the run.
        observer: called with the decisions of the reconstructor; its exceptions end the run.
        before_writing: called with the scene when it is complete, before its files are written.
        **options: fields of `RunSettings`: device, dtype, size, push_batch, read_ahead, progress.

    Raises:
        InputError: the source has nothing usable or is too short, or the output holds results already.
        CheckpointError: weights are missing, damaged or of another model.
        ConfigurationError: a setting does not fit.
    """
    run_settings, export = to_dataclass(options, RunSettings), to_dataclass(export or {}, ExportSettings)
    wish = {"mode": refinement} if isinstance(refinement, str) else refinement
    refining = wish if isinstance(wish, RefinementSettings) else to_dataclass(wish or {}, RefinementSettings)
    beforehand = _known(cameras, camera, depths, masks, scale, known)
    folder = None if output is None else user_path(output)
    if folder is not None:
        wanted = {COLMAP: export.colmap, PREDICTIONS: save_predictions}
        wanted |= {IMAGES: bool(export.images), DEPTHS: export.depths}
        RESULTS.check(folder, overwrite, [name for name, is_wanted in wanted.items() if is_wanted])
    elif save_predictions or export.images or export.depths:
        raise ConfigurationError("save_predictions, export.images and export.depths need an output folder")
    with ExitStack() as stack:
        frames = open_source(source)
        if frames is not source:
            stack.enter_context(frames)
        if folder is not None:
            check_apart(folder, frames.folders)
        frames.validate()
        beforehand.check(frames)
        if folder is not None and export.images is None:
            export = replace(export, images=beforehand.undistorts or not frames.files_are_plain)
            RESULTS.check(folder, overwrite, [IMAGES] if export.images else [])
        start = time.perf_counter()
        ready = ready_model(model, settings, run_settings.device, run_settings.dtype)
        seconds = time.perf_counter() - start
        _check_length(frames, ready.settings)
        if export.confidence is None:
            export = replace(export, confidence=ready.description.confidence.registered)
        else:
            export = replace(export, share=0.0)
        watched = _Watched(tuple(sinks), observer)
        refining = replace(refining, mode=resolve_mode(refining, ready.description.refinement))
        # One hidden folder takes everything that is written, so that a result appears whole or not at all.
        stage = None if folder is None else stack.enter_context(RESULTS.staged(folder))
        place = None if stage is None or folder is None else _Place(stage, folder.resolve().name, save_predictions)
        scene = _run(ready, frames, export, run_settings, refining, place, watched, beforehand)
        scene.seconds = {"load model": seconds, **scene.seconds}
        if before_writing is not None:
            before_writing(scene)
        if stage is not None and folder is not None:
            stage_results(scene, stage, folder, export)
    return scene


def _known(
    cameras: str | Path | KnownCameras | None,
    camera: Calibration | None,
    depths: str | Path | Depths | None,
    masks: str | Path | None,
    scale: ScaleSettings | Mapping[str, Any] | None,
    known: KnownSettings | Mapping[str, Any] | None,
) -> Known:
    """Open what the user knows; see `reconstruct`."""
    settings = to_dataclass(known or {}, KnownSettings, "known")
    return Known(
        read_cameras(cameras) if isinstance(cameras, (str, Path)) else cameras,
        camera,
        DepthFolder(depths, settings.depth_unit) if isinstance(depths, (str, Path)) else depths,
        None if masks is None else MaskFolder(masks),
        settings,
        to_dataclass(scale or {}, ScaleSettings, "scale"),
    )


@dataclass(frozen=True)
class _Watched:
    """Sinks and observer of the run."""

    sinks: tuple[Sink, ...]
    observer: Observer | None


@dataclass(frozen=True)
class _Place:
    """Files that a run writes while its frames come."""

    stage: Path
    """Folder that takes the place of the results at the end."""
    name: str
    """Name of the result folder."""
    predictions: bool
    """Every frame's arrays are written."""


def _check_length(frames: FrameSource, settings: ReconstructionSettings) -> None:
    """Too few frames for the stride: said now where their number is certain, at their end otherwise."""
    count = frames.length if isinstance(frames, (ImageFileSource, ArraySource)) else None
    if count is not None and settings.keyframe_stride >= count:
        raise SequenceTooShort(
            f"{count} frames do not fill an initial window at stride {settings.keyframe_stride}; give at least "
            f"{settings.keyframe_stride + 1} frames (better {settings.initial_window * settings.keyframe_stride}), "
            "or a smaller reconstruction.keyframe_stride"
        )


def _run(
    ready: ReadySlam3r,
    frames: FrameSource,
    export: ExportSettings,
    options: RunSettings,
    refining: RefinementSettings,
    place: _Place | None,
    watched: _Watched,
    beforehand: Known,
) -> Scene:
    """The scene; what is written frame by frame is in `place` then."""
    recorder = PredictionRecorder(place.stage / PREDICTIONS) if place is not None and place.predictions else None
    images = place.stage / IMAGES if place is not None and export.images else None
    sinks = [*watched.sinks, *([] if recorder is None else [recorder])]
    held = hold_input(
        refining, export.depths or export.mesh or beforehand.depths is not None, ready.settings.between.is_on
    )
    known = KnownInput(beforehand, options.size) if beforehand.is_anything else None
    run = OfflineRun(ready.network, ready.settings, export, options, sinks, images, watched.observer, held, known)
    scene = run.execute(frames, ready.provenance)
    refinement = finish_scene(
        scene,
        held,
        refining,
        export,
        between=run.between,
        trust=beforehand.settings,
        progress=options.progress,
        device=ready.device,
    )
    if known is not None:
        move = None if recorder is None else recorder.move
        enter_known_world(Movable(scene, refinement, held, move), known)
    if recorder is not None and refinement is not None and held is not None:
        recorder.write_refined(refinement, scene, held.frames)
    if export.mesh and held is not None:
        scene.mesh = fuse_scene(scene, held, refinement, export)
    if place is not None and export.depths and held is not None:
        write_depth_maps(place.stage / DEPTHS, scene, held, refinement, export)
    if recorder is not None and place is not None:
        recorder.write_metadata(scene, place.name)
    return scene
