"""The frames of a run that have a pose alone, and their poses in a refined scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.known.settings import KnownSettings
from common.refinement.given import enough_poses
from common.refinement.outcome import Refinement
from common.refinement.projection import undistort
from slam3r.reconstruction.between.placing import Anchor, Rays, place_between
from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.frames import RegisteredFrame
from slam3r.scene.refinement_input import RefinementInput
from slam3r.scene.scene_data import SceneData, SceneFrame


class BetweenFrames:
    """A sink that keeps what places frames without pointmaps: about 10 KB a frame."""

    def __init__(self, original_from_network: Callable[[int], Tensor]) -> None:
        """
        Args:
            original_from_network: (3, 3) affine map of pixels for the index of a frame.
        """
        self._original_from_network = original_from_network
        self._sightings: dict[int, tuple[Sighting, ...]] = {}

    def add(self, frame: RegisteredFrame) -> None:
        """Take a frame."""
        if frame.sightings:
            self._sightings[frame.index] = frame.sightings

    def close(self) -> None:
        """Nothing to do."""

    def place_again(
        self, scene: SceneData, refinement: Refinement, held: RefinementInput, trust: KnownSettings
    ) -> None:
        """Place the frames against keyframes that refinement moved; nothing happens where it did not.

        Args:
            scene: with the keyframes as refined; its other frames are replaced.
            refinement: of its keyframes.
            held: these keyframes, and what is known of the others.
            trust: where known poses are fixed, so are those of these frames.
        """
        if refinement.cameras is None or refinement.depth is None or not self._sightings:
            return
        anchors, fixed = _Anchors(scene, refinement, held.frames), trust.poses == "fixed" and enough_poses(held.poses())
        for position, frame in enumerate(scene.frames):
            if frame.index not in self._sightings:
                continue
            known = held.others[frame.index]
            placed = self._placed(frame, anchors, known.intrinsics is not None)
            if fixed and known.camera_to_world is not None:
                placed = replace(placed, camera_to_world=known.camera_to_world)
            scene.frames[position] = placed

    def _placed(self, frame: SceneFrame, anchors: _Anchors, known_lens: bool) -> SceneFrame:
        sightings = self._sightings[frame.index]
        before, after = (anchors.of(sighting.keyframe) for sighting in sightings)
        keyframe = anchors.frame(sightings[0].keyframe)
        # By the same camera, as far as one can tell.
        if keyframe.original_size == frame.original_size and not known_lens:
            frame = replace(frame, intrinsics=keyframe.intrinsics, radial_distortion=keyframe.radial_distortion)
        original_from_network = self._original_from_network(frame.index).double().numpy()
        pixel = float(original_from_network[0, 0]) / float(frame.intrinsics[0, 0])
        placed = place_between(frame.index, sightings, (before, after), _rays(frame, original_from_network), pixel)
        return replace(
            frame,
            status=placed.status,
            pose_inliers=placed.inliers,
            camera_to_world=placed.camera_to_world,
            connected=all(anchors.frame(sighting.keyframe).connected for sighting in sightings),
        )


class _Anchors:
    """The keyframes of a refined scene."""

    def __init__(self, scene: SceneData, refinement: Refinement, refined: Sequence[int]) -> None:
        self._frames = {frame.index: frame for frame in scene.frames}
        self._refinement = refinement
        self._rows = {index: row for row, index in enumerate(refined)}
        self._size = scene.network_size

    def frame(self, index: int) -> SceneFrame:
        return self._frames[index]

    def of(self, index: int) -> Anchor:
        pose, depth = self._frames[index].camera_to_world, self._refinement.depth
        assert depth is not None
        row = self._rows.get(index)
        if row is None or pose is None:
            return Anchor(index, np.zeros(self._size, np.float32), pose)
        return Anchor(index, torch.where(depth.confirmed[row], depth.depth[row], 0.0).cpu().numpy(), pose)


def _rays(frame: SceneFrame, original_from_network: NDArray[np.float64]) -> Rays:
    """Rays of network pixels by the frame's own camera."""
    camera = frame.intrinsics

    def rays(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        original = pixels @ original_from_network[:2, :2].T + original_from_network[:2, 2]
        xy = (original - camera[:2, 2]) / camera.diagonal()[:2]
        return undistort(torch.from_numpy(xy), frame.radial_distortion).numpy()

    return rays
