"""Scenes of films that refinement can do little with: a better scene, or the old one and a line that says so.

What the camera stages do with such pictures is in tests/common/refinement/cameras/test_bad_input.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import slam3r.scene.refined as refined_module
from common.refinement.settings import CameraSettings, MatchingSettings, RefinementSettings
from common.refinement.types import Prediction
from slam3r.scene.refined import finish_scene, hold_input
from slam3r.scene.scene import Scene
from slam3r.scene.settings import ExportSettings
from slam3r.scene.summary import find_warnings, summarize
from tests.support.filmed_room import FilmedRoom, film, path_error
from tests.support.refined_scene import gather, reconstructed

SETTINGS = RefinementSettings(
    mode="auto",
    cameras=CameraSettings(
        threads=1, matching=MatchingSettings(all_pairs_up_to=4, partners_in_time=2, partners_alike=2)
    ),
)
EXPORT = ExportSettings(confidence=2.0)


@pytest.fixture(scope="module")
def room() -> FilmedRoom:
    torch.manual_seed(0)
    return film(7)


def finish(room: FilmedRoom, settings: RefinementSettings = SETTINGS) -> Scene:
    held = hold_input(settings)
    assert held is not None
    gather(room, held)
    scene = reconstructed(room)
    finish_scene(scene, held, settings, EXPORT, progress=False)
    return scene


def repaint(room: FilmedRoom, paint: Callable[[int, np.ndarray], np.ndarray]) -> FilmedRoom:
    """The film with every picture (h, w, 3) painted over."""
    images = [paint(index, one.image.permute(1, 2, 0).numpy().copy()) for index, one in enumerate(room.pictures)]
    tensors = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) for image in images]
    return replace(room, pictures=[replace(one, image=image) for one, image in zip(room.pictures, tensors)])


def ate(scene: Scene, room: FilmedRoom, frames: slice = slice(None)) -> float:
    return path_error(torch.from_numpy(scene.camera_to_world[frames]), room.camera_to_world[frames])


def assert_kept(room: FilmedRoom, scene: Scene) -> None:
    """The scene is the old one, and the user is told what it is worth."""
    old = reconstructed(room)
    assert np.array_equal(scene.points, old.points) and np.array_equal(scene.confidence, old.confidence)
    assert np.array_equal(scene.camera_to_world, old.camera_to_world) and scene.tracks is None
    assert scene.verdict.applied == "none" and "kept" in scene.verdict.reason
    assert summarize(scene)["verdict"]["sentence"] == scene.verdict.sentence()


def assert_not_worse(room: FilmedRoom, scene: Scene) -> None:
    if scene.verdict.applied == "none":
        assert_kept(room, scene)
    else:
        assert ate(scene, room) < ate(reconstructed(room), room)


def test_identical_pictures(room: FilmedRoom) -> None:
    still = room.part([0] * 4)
    assert_kept(still, finish(still))


def test_a_camera_that_only_turns(room: FilmedRoom) -> None:
    matrix = np.array([[room.focal, 0, 159.5], [0, room.focal, 119.5], [0, 0, 1]])
    first = room.pictures[0].image.permute(1, 2, 0).numpy()

    def turn(index: int, _: np.ndarray) -> np.ndarray:
        rotation = Rotation.from_euler("y", 2.0 * index, degrees=True).as_matrix()
        return cv2.warpPerspective(first, matrix @ rotation @ np.linalg.inv(matrix), (320, 240))

    turning = repaint(room.part([0, 1, 2, 3, 4]), turn)
    assert_kept(turning, finish(turning))


def test_blurred_frames(room: FilmedRoom) -> None:
    blurred = repaint(room, lambda index, image: cv2.GaussianBlur(image, (0, 0), 4) if index % 2 else image)
    assert_not_worse(blurred, finish(blurred))


def test_something_moves_in_a_third_of_the_picture(room: FilmedRoom) -> None:
    other = film(21, 1, (213, 120)).pictures[0].image.permute(1, 2, 0).numpy()

    def cover(index: int, image: np.ndarray) -> np.ndarray:
        image[13:226, 10 + 15 * index : 130 + 15 * index] = other[:, : 320 - 10 - 15 * index]
        return image

    moving = repaint(room, cover)
    assert_not_worse(moving, finish(moving))


def test_frames_of_another_place_are_marked(room: FilmedRoom) -> None:
    other = film(11).part([0, 1, 2, 3])
    both = join(room.part(list(range(8))), other)
    scene = finish(both)
    assert scene.verdict.applied != "none"
    assert [frame.connected for frame in scene.frames] == [True] * 8 + [False] * 4
    assert len(summarize(scene)["frames_not_connected"]) == 4
    assert scene.verdict.frames_connected == pytest.approx(8 / 12) and "67% of the frames" in scene.verdict.sentence()
    assert ate(scene, both, slice(8)) < 0.01


@pytest.mark.slow
def test_the_way_back_leads_to_where_it_began(room: FilmedRoom) -> None:
    """The network's path drifts on; the same picture taken twice must end in one place."""
    there_and_back = room.part([*range(10), *reversed(range(10))])
    poses = there_and_back.prediction.camera_to_world
    rng = np.random.default_rng(0)
    poses[10:, :3, 3] += torch.from_numpy(np.cumsum(rng.normal(0, 0.05, (10, 3)), axis=0)).float()
    depth = there_and_back.prediction.depth
    depth[10:] *= torch.from_numpy(np.exp(rng.normal(0, 0.1, (10, 1, 1)))).float()

    def farthest(scene: Scene) -> float:
        """Largest distance between two places of one picture, as a share of the path."""
        centres = scene.camera_to_world[:, :3, 3]
        path = np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()
        return float(np.linalg.norm(centres - centres[::-1], axis=1).max() / path)

    assert farthest(reconstructed(there_and_back)) > 0.05
    assert farthest(finish(there_and_back)) < 0.02


def test_a_fault_in_the_check_costs_no_reconstruction(
    room: FilmedRoom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(refined_module, "assess", fail)
    part = room.part([0, 1, 2])
    scene = finish(part, replace(SETTINGS, mode="off"))
    assert np.array_equal(scene.points, reconstructed(part).points)
    assert scene.verdict.agrees is None and "not verified: the check failed" in scene.verdict.sentence()
    assert "Traceback" in caplog.text and not any("NOT agree" in warning for warning in find_warnings(scene))


def join(first: FilmedRoom, second: FilmedRoom) -> FilmedRoom:
    """Two films of different places in one folder."""
    one, two = first.prediction, second.prediction
    second_pictures = [replace(picture, name=f"other_{picture.name}") for picture in second.pictures]
    names = ("depth", "valid", "confidence", "camera_to_world")
    columns = [torch.cat([getattr(one, name), getattr(two, name)]) for name in names]
    return FilmedRoom(
        first.pictures + second_pictures,
        Prediction(*columns, one.intrinsics),
        torch.cat([first.camera_to_world, second.camera_to_world]),
        torch.cat([first.depth, second.depth]),
        first.focal,
    )
