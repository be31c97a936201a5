"""Pictures that refinement cannot do much with: a result or the old cameras, never a crash, never worse in silence."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from common.refinement.cameras.refine_cameras import refine_cameras
from common.refinement.settings import AdjustmentSettings, CameraSettings, MatchingSettings
from common.refinement.types import Prediction, RefinedCameras
from tests.support.filmed_room import FilmedRoom, film, path_error

SETTINGS = CameraSettings(
    threads=1,
    matching=MatchingSettings(all_pairs_up_to=4, partners_in_time=2, partners_alike=2),
    adjustment=AdjustmentSettings(rounds=2),
)


def refine(film: FilmedRoom) -> RefinedCameras:
    return refine_cameras(film.pictures, film.prediction, SETTINGS)


def repaint(film: FilmedRoom, paint: Callable[[int, np.ndarray], np.ndarray]) -> FilmedRoom:
    """The film with every picture (h, w, 3) painted over."""
    pictures = []
    for index, picture in enumerate(film.pictures):
        image = np.ascontiguousarray(paint(index, picture.image.permute(1, 2, 0).numpy().copy()))
        pictures.append(replace(picture, image=torch.from_numpy(image).permute(2, 0, 1)))
    return replace(film, pictures=pictures)


def join(first: FilmedRoom, second: FilmedRoom) -> FilmedRoom:
    """Two films of different places in one folder."""
    one, two = first.prediction, second.prediction
    return FilmedRoom(
        first.pictures + second.pictures,
        Prediction(
            torch.cat([one.depth, two.depth]),
            torch.cat([one.valid, two.valid]),
            torch.cat([one.confidence, two.confidence]),
            torch.cat([one.camera_to_world, two.camera_to_world]),
            one.intrinsics,
        ),
        torch.cat([first.camera_to_world, second.camera_to_world]),
        torch.cat([first.depth, second.depth]),
        first.focal,
    )


def assert_kept(film: FilmedRoom, result: RefinedCameras, words: str) -> None:
    """Nothing was changed, and the line says why."""
    assert not result.evidence.refined
    assert words in result.evidence.reason
    assert torch.equal(result.placed.nan_to_num(), film.prediction.camera_to_world.nan_to_num())
    assert result.cameras[0].focal == pytest.approx(0.85 * film.focal, rel=1e-4)


def assert_not_worse(film: FilmedRoom, result: RefinedCameras) -> None:
    """The connected frames' path is better than the network's, or the network's was kept."""
    if result.evidence.refined:
        some = result.connected
        before, after = film.prediction.camera_to_world[some], result.camera_to_world[some]
        assert path_error(after, film.camera_to_world[some]) < path_error(before, film.camera_to_world[some])
    else:
        assert "kept" in result.evidence.reason


def test_identical_pictures(room):
    film = room.part([0] * 5)
    assert_kept(film, refine(film), "from one place")


def test_no_texture(room):
    film = repaint(room.part([0, 1, 2, 3]), lambda _, image: image * 0 + 128)
    assert_kept(film, refine(film), "no two pictures have matches enough")


def test_noise(room):
    rng = np.random.default_rng(0)
    film = repaint(room.part([0, 1, 2, 3]), lambda _, image: rng.integers(0, 255, image.shape).astype(np.uint8))
    assert_kept(film, refine(film), "no two pictures have matches enough")


def test_one_picture(room):
    film = room.part([0])
    assert_kept(film, refine(film), "no two pictures have matches enough")


def test_two_pictures(room):
    film = room.part([0, 3])
    result = refine(film)

    assert result.evidence.refined
    assert result.cameras[0].focal == pytest.approx(film.focal, rel=0.1)


def test_a_camera_that_only_turns(room):
    matrix = np.array([[room.focal, 0, 159.5], [0, room.focal, 119.5], [0, 0, 1]])
    still = room.pictures[0].image.permute(1, 2, 0).numpy()

    def turn(index: int, _: np.ndarray) -> np.ndarray:
        rotation = Rotation.from_euler("y", 2.0 * index, degrees=True).as_matrix()
        return cv2.warpPerspective(still, matrix @ rotation @ np.linalg.inv(matrix), (320, 240))

    film = repaint(room.part([0, 1, 2, 3, 4, 5]), turn)
    assert_kept(film, refine(film), "one place")


def test_two_places_in_one_folder(room, other_room):
    film = join(room.part(list(range(8))), other_room.part(list(range(5))))
    result = refine(film)

    assert result.evidence.refined and "62% of the frames connected" in result.evidence.reason
    assert result.connected.tolist() == [True] * 8 + [False] * 5
    assert path_error(result.camera_to_world[:8], film.camera_to_world[:8]) < 0.01
    # the others stand to each other as before
    before = film.prediction.camera_to_world[8:]
    assert torch.allclose(
        result.placed[8:, :3, :3].mT @ result.placed[12, :3, :3], before[:, :3, :3].mT @ before[4, :3, :3], atol=1e-5
    )


@pytest.mark.parametrize("shift", [(0, 10), (8, 6), (12, 0)])
def test_something_moves_in_a_third_of_the_picture(room, shift):
    other = film(21, 1, (213, 120)).pictures[0].image.permute(1, 2, 0).numpy()

    def cover(index: int, image: np.ndarray) -> np.ndarray:
        x, y = 40 + shift[0] * index, -60 + shift[1] * index
        top, bottom, left, right = max(y, 0), min(y + 213, 240), max(x, 0), min(x + 120, 320)
        image[top:bottom, left:right] = other[top - y : bottom - y, left - x : right - x]
        return image

    moving = repaint(room, cover)
    assert_not_worse(moving, refine(moving))


def test_every_other_picture_is_blurred(room):
    blurred = repaint(room, lambda index, image: cv2.GaussianBlur(image, (0, 0), 4) if index % 2 else image)
    result = refine(blurred)

    assert_not_worse(blurred, result)
    assert result.placed.isfinite().all()


def test_exposure_that_changes(room):
    film = repaint(room, lambda index, image: np.clip(image * (0.4 + 0.12 * index), 0, 255).astype(np.uint8))
    result = refine(film)

    assert result.evidence.refined
    assert path_error(result.camera_to_world, film.camera_to_world) < 0.01


def test_the_network_knows_no_depth(room):
    film = room.part([0, 1, 2, 3])
    film.prediction.valid[:] = False
    assert_kept(film, refine(film), "no depth")


def test_the_network_has_no_pose_of_some_frames(room):
    film = room.part(list(range(8)))
    film.prediction.camera_to_world[3] = torch.nan
    result = refine(film)

    assert result.evidence.refined
    assert path_error(result.placed, film.camera_to_world) < 0.01


def test_depth_that_means_nothing(room):
    film = room.part(list(range(10)))
    film.prediction.depth[:] = 1.0
    assert_not_worse(film, refine(film))
