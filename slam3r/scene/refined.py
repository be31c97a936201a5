"""A scene after refinement: cameras and points that many views agree on, or the old ones with a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.refinement.assessment import Sample, assess
from common.refinement.backend import BackendMissingError
from common.refinement.outcome import Refinement, Verdict
from common.refinement.refine import RefinementSettings, refine
from common.refinement.types import Camera, Picture
from slam3r.scene.frame_strip import StripFrame
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene_data import SceneData, SceneFrame, SceneTracks
from slam3r.scene.settings import ExportSettings
from slam3r.scene.sinks import PointStore

CONFIRMED = 1.0
"""Threshold of a refined point's confidence: the number of views that see it there, its own included."""


def check_scene(scene: SceneData, held: RefinementInput, settings: RefinementSettings) -> Verdict:
    """How well the pictures agree with a scene that was not refined."""
    frames = held.frames
    if not settings.check_frames:
        return Verdict(reason="the check was switched off")
    if not frames:
        return Verdict(reason="no frame was kept for a check")
    try:
        return assess(Sample(held.pictures(), held.prediction(), held.complete), settings.cameras, settings.dense)
    except BackendMissingError as error:
        return Verdict(reason=str(error))


def refine_scene(
    scene: SceneData,
    held: RefinementInput,
    settings: RefinementSettings,
    export: ExportSettings,
    progress: Callable[[str, float], None] | None = None,
    device: torch.device | str | None = None,
) -> Refinement:
    """Refine a scene in place, where refinement wins; `scene.verdict` says what became of it.

    Args:
        scene: as reconstructed.
        held: pictures and predictions of all its frames.
        settings: of the refinement.
        export: which points are kept.
        progress: is told the stage and the share of it that is done.
        device: of the dense search.

    Raises:
        BackendMissingError: pycolmap is not installed.
    """
    pictures = held.pictures()
    refinement = refine(pictures, held.prediction(), settings, progress=progress, device=device)
    scene.verdict = refinement.verdict
    if refinement.cameras is not None:
        frames = held.frames
        _take_cameras(scene, frames, refinement)
        _take_points(scene, frames, refinement, held, export)
        scene.strip = [_strip(column, scene, frames, refinement) for column in scene.strip]
        scene.tracks = _tracks(refinement, frames)
    return refinement


def point_confidence(refinement: Refinement, frame: int) -> NDArray[np.float32]:
    """(H, W) number of views that see a frame's points where they are, its own included; 1 where nothing confirms it."""
    assert refinement.depth is not None
    views, confirmed = refinement.depth.views[frame], refinement.depth.confirmed[frame]
    return (1 + torch.where(confirmed, views.float(), 0.0)).numpy()


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
    threshold = 0.0 if export.unconfirmed else CONFIRMED
    store = PointStore(threshold, export.max_points, scene.settings.seed)
    for position, frame in enumerate(frames):
        points = refinement.world_points(position).numpy()
        confidence = point_confidence(refinement, position)
        keep = (confidence > threshold) & np.isfinite(points).all(axis=-1)
        store.add_points(points[keep], held.colors(frame)[keep], confidence[keep])
        store.highest_confidence = max(store.highest_confidence, float(confidence.max()))
    scene.points, scene.colors, scene.confidence = store.points, store.colors, store.confidence
    scene.threshold, scene.num_confident = threshold, store.num_seen
    scene.highest_confidence = store.highest_confidence


def _strip(column: StripFrame, scene: SceneData, frames: list[int], refinement: Refinement) -> StripFrame:
    """A column of the picture of frames, with refined depth and the number of views that agree."""
    assert refinement.depth is not None
    names = {scene.frames[frame].name: position for position, frame in enumerate(frames)}
    position = names.get(column.name)
    if position is None:
        return column
    return replace(
        column, depth=refinement.depth.depth[position].numpy(), confidence=point_confidence(refinement, position)
    )


def _tracks(refinement: Refinement, frames: list[int]) -> SceneTracks:
    """Tracks with their observations in original pixels."""
    assert refinement.cameras is not None
    tracks = refinement.cameras.tracks
    scale = np.array([np.divide(p.original_size, p.size)[::-1] for p in refinement.pictures])
    frame = tracks.frame.numpy()
    xy = (tracks.xy.double().numpy() + 0.5) * scale[frame] - 0.5
    return SceneTracks(tracks.point.double().numpy(), tracks.point_index.numpy(), np.array(frames)[frame], xy)
