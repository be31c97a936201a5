"""A frame between two keyframes of a true room is placed near where it was filmed: 160 pixels wide, 8 cm a step."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.rooms import room_seed, room_video
from common.views import Views
from slam3r.reconstruction.between.placing import Anchor, Placement, blended, place_between
from slam3r.reconstruction.between.sightings import Sighting
from slam3r.reconstruction.placement.tracks import TrackedPicture

FIRST, MIDDLE, LAST = 0, 1, 3


@cache
def room() -> Views:
    """Four steps through a room."""
    return room_video(room_seed("held_out", 0, 6), 4, (120, 160), step=0.08, turn=3.0)


def anchor(index: int) -> Anchor:
    """A keyframe with the true depth and pose."""
    depth = room().depth
    assert depth is not None
    return Anchor(index, depth[index].numpy(), true_pose(index))


def true_pose(index: int) -> np.ndarray:
    poses = room().camera_to_world
    assert poses is not None
    return poses[index].double().numpy()


def sightings() -> tuple[Sighting, Sighting]:
    pictures = [TrackedPicture.from_image(image) for image in room().images]
    return Sighting.of(FIRST, pictures[FIRST], pictures[MIDDLE]), Sighting.of(LAST, pictures[LAST], pictures[MIDDLE])


def place(anchors: tuple[Anchor, Anchor], seen: tuple[Sighting, Sighting]) -> Placement:
    intrinsics = room().intrinsics
    assert intrinsics is not None
    camera = intrinsics[0].double().numpy()
    focal = float(camera[0, 0])
    return place_between(MIDDLE, seen, anchors, lambda pixels: (pixels - camera[:2, 2]) / focal, 1 / focal)


def apart(pose: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Metres and degrees between two poses."""
    turn = Rotation.from_matrix(pose[:3, :3].T @ truth[:3, :3]).magnitude()
    return float(np.linalg.norm(pose[:3, 3] - truth[:3, 3])), float(np.degrees(turn))


def test_corners_of_both_keyframes_tell_where_the_frame_is() -> None:
    placed = place((anchor(FIRST), anchor(LAST)), sightings())
    assert placed.status == "placed" and placed.inliers > 0.8
    assert placed.camera_to_world is not None
    distance, degrees = apart(placed.camera_to_world, true_pose(MIDDLE))
    assert distance < 0.025 and degrees < 0.3
    # Much nearer than a path that is straight between the keyframes.
    guessed = blended(true_pose(FIRST), true_pose(LAST), 1 / 3)
    assert guessed is not None and apart(guessed, true_pose(MIDDLE))[0] > 5 * distance


def test_corners_that_were_tracked_to_other_places_do_no_harm() -> None:
    first, last = sightings()
    here = first.here.copy()
    here[::3] += np.float32([14, -9])
    placed = place((anchor(FIRST), anchor(LAST)), (replace(first, here=here), last))
    assert placed.status == "placed" and 0.5 < placed.inliers < 0.7
    assert placed.camera_to_world is not None and apart(placed.camera_to_world, true_pose(MIDDLE))[0] < 0.04


def test_without_trusted_corners_the_pose_is_interpolated() -> None:
    nothing = np.zeros((120, 160), np.float32)
    before, after = (replace(anchor(index), depth=nothing) for index in (FIRST, LAST))
    placed = place((before, after), sightings())
    assert placed.status == "interpolated" and placed.inliers == 0 and placed.camera_to_world is not None
    third = true_pose(FIRST)[:3, 3] * 2 / 3 + true_pose(LAST)[:3, 3] / 3
    np.testing.assert_allclose(placed.camera_to_world[:3, 3], third, atol=1e-6)
    _, whole = apart(true_pose(FIRST), true_pose(LAST))
    assert apart(true_pose(FIRST), placed.camera_to_world)[1] == pytest.approx(whole / 3, abs=1e-4)
    lost = place((replace(before, camera_to_world=None), after), sightings())
    assert lost.camera_to_world is None and lost.status == "interpolated"
