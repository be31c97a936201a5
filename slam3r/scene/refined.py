"""Refinement of a scene: cameras and points that many views agree on, or the original ones with a verdict."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import ConfigurationError
from common.geometry.colmap_backend import BackendMissingError, pycolmap_module
from common.known.settings import KnownSettings
from common.progress import ProgressReporter
from common.refinement.assessment import Sample, assess
from common.refinement.given import Given, enough_poses
from common.refinement.outcome import Refinement, Verdict
from common.refinement.refine import refine
from common.refinement.settings import Mode, RefinementSettings
from common.refinement.types import Camera, Picture, RefinedDepth, Tracks
from slam3r.scene.between.between_frames import BetweenFrames
from slam3r.scene.frame_strip import StripFrame
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene_data import SceneData, SceneFrame, SceneTracks, Unrefined
from slam3r.scene.settings import ExportSettings
from slam3r.scene.sinks import PointStore

logger = logging.getLogger(__name__)

CONFIRMED = 1.0
"""Threshold of a refined point's confidence: the number of views that see it there, its own included."""


def resolve_mode(settings: RefinementSettings, wish: Mode) -> Mode:
    """Mode of a run: the user's choice, or else the model's; checked before long work.

    Raises:
        ConfigurationError: refinement was requested, and pycolmap is not installed.
    """
    mode = settings.mode or wish
    if mode == "off":
        return mode
    try:
        pycolmap_module()
    except BackendMissingError as error:
        if mode != "auto":
            raise ConfigurationError(f"refinement.mode={mode}: {error}") from error
        logger.warning("the result will not be refined: %s", error)
        return "off"
    return mode


def hold_input(settings: RefinementSettings, everything: bool = False, sparse: bool = False) -> RefinementInput | None:
    """The sink that gathers what refinement, or the check of an unrefined scene, needs; None where neither runs.

    Args:
        settings: of the refinement, with a mode.
        everything: hold all frames in any case.
        sparse: some frames of the run have no pointmap.
    """
    if settings.mode == "off" and not everything:
        most = settings.check_frames
        return RefinementInput(settings.cameras.long_side, most, sparse) if most else None
    return RefinementInput(settings.cameras.long_side, sparse=sparse)


def finish_scene(
    scene: SceneData,
    held: RefinementInput | None,
    settings: RefinementSettings,
    export: ExportSettings,
    *,
    between: BetweenFrames | None = None,
    trust: KnownSettings | None = None,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> Refinement | None:
    """Refine a scene in place, or only check it; `scene.verdict` holds the outcome.

    Args:
        scene: as reconstructed.
        held: by `hold_input`; has taken all frames.
        settings: of the refinement, with a mode.
        export: which points are kept.
        between: has taken all frames, and places those without pointmaps anew.
        trust: in known poses.
        progress: report it (`common.progress`).
        device: of the dense search.

    Returns:
        None where the scene was only checked.
    """
    start = time.perf_counter()
    if held is None or not held.frames:
        scene.verdict = Verdict(reason="the check was switched off" if held is None else "no frame was kept for it")
        return None
    if settings.mode == "off" or len(held.frames) < 2:
        with ProgressReporter("check", show=progress):
            scene.verdict = check_scene(held, settings)
        scene.seconds["verdict"] = time.perf_counter() - start
        return None
    with ProgressReporter("refine", 1.0, show=progress) as reporter:

        def show(stage: str, share: float) -> None:
            reporter.at(f"refine: {stage}", share)

        before = dict(vars(scene))
        try:
            refinement = refine_scene(scene, held, settings, export, show, device, trust)
            if between is not None:
                between.place_again(scene, refinement, held, trust or KnownSettings())
        except Exception as error:
            if settings.mode != "auto":
                raise
            # The reconstruction is whole without it, and took longer than this.
            logger.exception("refinement failed, the scene stays as it was reconstructed")
            vars(scene).update(before)
            scene.verdict = Verdict(reason=f"kept, because refinement failed: {type(error).__name__}: {error}")
            return None
    scene.seconds |= {f"refine: {stage}": seconds for stage, seconds in refinement.seconds.items()}
    scene.seconds["refine"] = time.perf_counter() - start
    return refinement


def check_scene(held: RefinementInput, settings: RefinementSettings) -> Verdict:
    """Check how well images agree with the network's cameras and depths."""
    try:
        return assess(Sample(held.pictures(), held.prediction(), held.complete), settings.cameras, settings.dense)
    except BackendMissingError as error:
        return Verdict(reason=str(error))
    except Exception as error:  # the check changes nothing, so it must not cost the reconstruction either
        logger.exception("the check of pictures and cameras failed")
        return Verdict(reason=f"the check failed: {type(error).__name__}: {error}")


def refine_scene(
    scene: SceneData,
    held: RefinementInput,
    settings: RefinementSettings,
    export: ExportSettings,
    progress: Callable[[str, float], None] | None = None,
    device: torch.device | str | None = None,
    trust: KnownSettings | None = None,
) -> Refinement:
    """Refine a scene in place if that improves it; `scene.verdict` holds the outcome.

    Args:
        scene: as reconstructed.
        held: pictures and predictions of all its frames.
        settings: of the refinement.
        export: which points are kept.
        progress: called with the stage and its completed share.
        device: of the dense search.
        trust: in known poses.

    Raises:
        BackendMissingError: pycolmap is not installed.
    """
    refinement = refine(
        held.pictures(),
        held.prediction(),
        settings,
        cameras=held.cameras(),
        given=given_by(held, trust or KnownSettings()),
        progress=progress,
        device=device,
    )
    scene.verdict = refinement.verdict
    if refinement.depth is not None:
        _drop_masked(refinement.depth, held)
    if refinement.cameras is not None:
        frames = held.frames
        scene.unrefined = _as_it_is(scene, export.unrefined_points)
        _take_cameras(scene, frames, refinement)
        _take_points(scene, frames, refinement, held, export)
        scene.strip = [_strip(column, scene, frames, refinement) for column in scene.strip]
        scene.tracks = _tracks(refinement, frames, held)
    return refinement


def _as_it_is(scene: SceneData, most: int) -> Unrefined | None:
    """The scene before refinement, with so many points at most; None for 0."""
    if most == 0:
        return None
    order = np.random.default_rng(scene.settings.seed).permutation(len(scene.points))
    chosen = order[:most]
    return Unrefined(scene.points[chosen], scene.colors[chosen], scene.confidence[chosen], scene.camera_to_world)


def given_by(held: RefinementInput, trust: KnownSettings) -> Given | None:
    """Measured poses and depths of the frames that are held; None where there are none."""
    poses, depth = torch.from_numpy(held.poses()), held.depths()
    use = trust.poses in ("fixed", "prior") and enough_poses(held.poses())
    if not use and depth is None:
        return None
    return Given(poses if use else None, trust.sigma if use and trust.poses == "prior" else None, depth)


def _drop_masked(depth: RefinedDepth, held: RefinementInput) -> None:
    """Pixels that the user masked have no point."""
    for position, frame in enumerate(held.frames):
        usable = held.usable(frame)
        if usable is not None:
            depth.depth[position][~usable] = torch.nan
            depth.confirmed[position] &= usable


def _take_cameras(scene: SceneData, frames: list[int], refinement: Refinement) -> None:
    assert refinement.cameras is not None
    poses = refinement.cameras.placed.double().numpy()
    at = {index: position for position, index in enumerate(frames)}
    refined: list[SceneFrame] = []
    for frame in scene.frames:
        position = at.get(frame.index)
        if position is None:
            refined.append(replace(frame, camera_to_world=None))
            continue
        picture = refinement.pictures[position]
        camera = refinement.cameras.cameras[picture.camera]
        pose = poses[position]
        refined.append(
            replace(
                frame,
                camera_to_world=pose if np.isfinite(pose).all() else None,
                intrinsics=original_intrinsics(camera, picture),
                radial_distortion=camera.k1,
                connected=bool(refinement.cameras.connected[position]),
            )
        )
    scene.frames = refined
    first = refinement.pictures[0]
    network = first.network_from_working.numpy() @ refinement.cameras.cameras[first.camera].matrix.numpy()
    scene.network_intrinsics = network


def original_intrinsics(camera: Camera, picture: Picture) -> NDArray[np.float64]:
    """(3, 3) intrinsics in pixels of the original picture; pixel centres are at integers in both."""
    y, x = (original / working for original, working in zip(picture.original_size, picture.size))
    matrix = np.eye(3)
    matrix[0, 0], matrix[1, 1] = camera.fx * x, camera.fy * y
    matrix[0, 2], matrix[1, 2] = (camera.cx + 0.5) * x - 0.5, (camera.cy + 0.5) * y - 0.5
    return matrix


def _take_points(
    scene: SceneData, frames: list[int], refinement: Refinement, held: RefinementInput, export: ExportSettings
) -> None:
    store = confirmed_points(
        refinement,
        lambda position: held.colors(frames[position]),
        export.max_points,
        scene.settings.seed,
        export.unconfirmed,
    )
    scene.points, scene.colors, scene.confidence = store.points, store.colors, store.confidence
    scene.threshold, scene.num_confident = store.threshold, store.num_seen
    scene.highest_confidence = store.highest_confidence


def confirmed_points(
    refinement: Refinement,
    colors: Callable[[int], NDArray[np.uint8]],
    max_points: int,
    seed: int = 0,
    unconfirmed: bool = False,
) -> PointStore:
    """Points of a refinement that won, with the number of views that see them as their confidence.

    Args:
        refinement: with cameras and depth.
        colors: (H, W, 3) RGB of the network image of each of its frames.
        max_points: kept at most, a uniform random choice; 0 keeps all.
        seed: of that choice.
        unconfirmed: keep points that no other view confirms as well.
    """
    assert refinement.depth is not None
    # Where nothing is confirmed, unconfirmed points are better than none; the verdict says what they are worth.
    threshold = CONFIRMED if refinement.depth.confirmed.any() and not unconfirmed else 0.0
    store = PointStore(threshold, max_points, seed)
    for position in range(len(refinement.pictures)):
        points = refinement.world_points(position).numpy()
        confidence = refinement.confidence(position).numpy()
        keep = (confidence > threshold) & np.isfinite(points).all(axis=-1)
        store.add_points(points[keep], colors(position)[keep], confidence[keep])
        store.highest_confidence = max(store.highest_confidence, float(confidence.max()))
    return store


def _strip(column: StripFrame, scene: SceneData, frames: list[int], refinement: Refinement) -> StripFrame:
    """A column of the picture of frames, with refined depth and the number of views that agree."""
    assert refinement.depth is not None
    names = {scene.frames[frame].name: position for position, frame in enumerate(frames)}
    position = names.get(column.name)
    if position is None:
        return column
    return replace(
        column,
        depth=np.nan_to_num(refinement.depth.depth[position].numpy()),
        confidence=refinement.confidence(position).numpy(),
    )


def _tracks(refinement: Refinement, frames: list[int], held: RefinementInput) -> SceneTracks:
    """Tracks with their observations in original pixels."""
    assert refinement.cameras is not None
    tracks, pictures = refinement.cameras.tracks, refinement.pictures
    frame, working = tracks.frame.numpy(), tracks.xy.double().numpy()
    scale = np.array([np.divide(p.original_size, p.size)[::-1] for p in pictures]).reshape(-1, 2)
    xy = (working + 0.5) * scale[frame] - 0.5
    colors = _track_colors(tracks, pictures, frames, held)
    return SceneTracks(tracks.point.double().numpy(), colors, tracks.point_index.numpy(), np.array(frames)[frame], xy)


def _track_colors(
    tracks: Tracks, pictures: list[Picture], frames: list[int], held: RefinementInput
) -> NDArray[np.uint8]:
    """(P, 3) colour of each point in one of its pictures; gray where it lies outside of every network image."""
    colors = np.full((len(tracks.point), 3), 128, np.uint8)
    frame, point = tracks.frame.numpy(), tracks.point_index.numpy()
    for position, picture in enumerate(pictures):
        own = np.flatnonzero(frame == position)
        homogeneous = np.column_stack([tracks.xy[own].double().numpy(), np.ones(len(own))])
        pixel = (homogeneous @ picture.network_from_working.numpy().T)[:, :2].round().astype(np.int64)
        image = held.colors(frames[position])
        inside = ((pixel >= 0) & (pixel < image.shape[1::-1])).all(axis=1)
        colors[point[own[inside]]] = image[pixel[inside, 1], pixel[inside, 0]]
    return colors
