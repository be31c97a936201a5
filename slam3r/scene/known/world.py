"""A scene in the world and unit that the user knows: everything that is exported follows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from common.known.markers import measure_markers
from common.known.settings import ScaleSettings
from common.refinement.cameras.gauge import Similarity, moved_cameras, scaling, world_alignment
from common.refinement.given import enough_poses
from common.refinement.outcome import Refinement
from common.refinement.projection import undistort
from slam3r.scene.known.input import KnownInput, find_picture
from slam3r.scene.known.unit import Unit, UnitSource
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene_data import SceneData

logger = logging.getLogger(__name__)


@dataclass
class Movable:
    """A scene and what moves with it."""

    scene: SceneData
    """Moved in place."""
    refinement: Refinement | None
    """Refinement of the scene, moved in place; None without one."""
    held: RefinementInput | None
    """Predictions of its frames, whose depths follow."""
    move_recorded: Callable[[Similarity], None] | None = None
    """Moves the pointmaps that were recorded as the network had them."""

    @property
    def is_refined(self) -> bool:
        """The cameras of the scene are refined ones."""
        return self.refinement is not None and self.refinement.cameras is not None

    def move(self, similarity: Similarity) -> None:
        """Move everything."""
        scene, scale = self.scene, similarity.scale
        scene.points = similarity.points(scene.points.astype(np.float64)).astype(np.float32)
        scene.frames = [
            frame
            if frame.camera_to_world is None
            else replace(frame, camera_to_world=similarity.poses(frame.camera_to_world))
            for frame in scene.frames
        ]
        if scene.tracks is not None:
            scene.tracks = replace(scene.tracks, points=similarity.points(scene.tracks.points))
        scene.strip = [replace(column, depth=scale * column.depth) for column in scene.strip]
        if self.refinement is not None and self.refinement.cameras is not None:
            self.refinement.cameras = moved_cameras(self.refinement.cameras, similarity)
            if self.refinement.depth is not None:
                self.refinement.depth = replace(self.refinement.depth, depth=scale * self.refinement.depth.depth)
        self.move_network(similarity)

    def move_network(self, similarity: Similarity) -> None:
        """Move the network's own predictions, as far as they were kept."""
        before = self.scene.unrefined
        if before is not None:
            self.scene.unrefined = replace(
                before,
                points=similarity.points(before.points.astype(np.float64)).astype(np.float32),
                camera_to_world=similarity.poses(before.camera_to_world),
            )
        if self.held is not None:
            self.held.unit *= similarity.scale
        if self.move_recorded is not None:
            self.move_recorded(similarity)


def enter_known_world(everything: Movable, known: KnownInput) -> None:
    """Move a scene into the known world, or one of the known unit; `scene.unit` tells of it.

    Args:
        everything: the scene as it would be exported, and what moves with it.
        known: of its frames.
    """
    what, scene = known.known, everything.scene
    if what.has_poses:
        given = _given_poses(scene, known)
        if not enough_poses(given):
            scene.unit = Unit(note="fewer than two pictures at different places have a known pose")
        elif everything.is_refined and what.settings.poses in ("fixed", "prior"):
            _stay(everything, "cameras", given)
        else:
            to_given = world_alignment(scene.camera_to_world, given, np.full(len(given), np.nan))
            everything.move(to_given)
            scene.unit = Unit("cameras", to_given.scale, note="the scene as a whole was moved to them")
    elif what.depths is not None:
        _by_depth(everything)
    elif what.scale.marker is not None:
        _by_marker(everything, known, what.scale.marker)
    elif what.scale.between is not None:
        _by_distance(everything, what.scale)
    if scene.unit.source == "none" and scene.unit.note:
        logger.warning("%s", scene.unit.sentence())


def _stay(everything: Movable, source: UnitSource, given: NDArray[np.float64] | None) -> None:
    """Refinement put the scene into the known world already; what the network predicted follows."""
    refinement, held = everything.refinement, everything.held
    assert refinement is not None and refinement.cameras is not None and held is not None
    factor = float(refinement.cameras.placed_scale.median())
    everything.scene.unit = Unit(source, factor)
    network = held.prediction().camera_to_world.double().numpy()
    target = refinement.cameras.placed.double().numpy() if given is None else given
    if len(target) == len(network) and enough_poses(network):
        everything.move_network(world_alignment(network, target, np.full(len(target), np.nan)))


def _by_depth(everything: Movable) -> None:
    """Metres by measured depths: refinement used them, or else their ratio to the network's counts."""
    if everything.is_refined:
        return _stay(everything, "depths", None)
    ratios = [] if everything.held is None else _depth_ratios(everything.held)
    if not ratios:
        everything.scene.unit = Unit(note="no given depth lies where the network has one")
        return
    factor = float(np.median(ratios))
    everything.move(scaling(factor))
    spread = float(np.median(np.abs(np.array(ratios) / factor - 1)))
    everything.scene.unit = Unit("depths", factor, spread, f"over {len(ratios)} frames")


def _by_marker(everything: Movable, known: KnownInput, side: float) -> None:
    scene = everything.scene
    sightings = [known.frames[frame.index].markers for frame in scene.frames]
    rays = [
        [_rays(sighting.corners, frame.intrinsics, frame.radial_distortion) for sighting in found]
        for found, frame in zip(sightings, scene.frames)
    ]
    size = measure_markers(sightings, scene.camera_to_world, rays)
    if size is None:
        seen = sum(map(bool, sightings))
        scene.unit = Unit(note=f"no marker was seen from two places ({seen} of {len(sightings)} pictures show one)")
        return
    factor = side / size.side
    everything.move(scaling(factor))
    scene.unit = Unit("marker", factor, size.spread, f"markers: {size.markers}, seen in {size.sightings} pictures")


def _by_distance(everything: Movable, scale: ScaleSettings) -> None:
    scene = everything.scene
    assert scale.between is not None and scale.distance is not None
    first, second = (find_picture(name, [frame.name for frame in scene.frames]) for name in scale.between)
    poses = scene.camera_to_world
    distance = float(np.linalg.norm(poses[first, :3, 3] - poses[second, :3, 3]))
    if not distance > 0:  # NaN where one has no pose
        scene.unit = Unit(note=f"{' and '.join(scale.between)} have no pose, or the same")
        return
    everything.move(scaling(scale.distance / distance))
    scene.unit = Unit("distance", scale.distance / distance, note=f"between {' and '.join(scale.between)}")


def _given_poses(scene: SceneData, known: KnownInput) -> NDArray[np.float64]:
    """(N, 4, 4) known poses of the scene's frames, NaN where one has none."""
    poses = [known.frames[frame.index].camera_to_world for frame in scene.frames]
    return np.array([np.full((4, 4), np.nan) if pose is None else pose for pose in poses]).reshape(-1, 4, 4)


def _depth_ratios(held: RefinementInput) -> list[float]:
    """Measured depth over the network's, the median of each frame that has both."""
    prediction, depths = held.prediction(), held.depths()
    if depths is None:
        return []
    both = (depths > 0) & prediction.valid
    return [
        float((depths[frame][both[frame]] / prediction.depth[frame][both[frame]]).median())
        for frame in range(len(depths))
        if bool(both[frame].any())
    ]


def _rays(pixels: NDArray[np.float64], intrinsics: NDArray[np.float64], k1: float) -> NDArray[np.float64]:
    """(K, 3) viewing rays of pixels (K, 2), in camera axes."""
    xy = (pixels - intrinsics[:2, 2]) / intrinsics.diagonal()[:2]
    return np.column_stack([undistort(torch.from_numpy(xy), k1).numpy(), np.ones(len(xy))])
