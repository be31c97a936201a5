"""All camera stages together, on a film with exact truth."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from common.refinement.cameras.refine_cameras import refine_cameras
from common.refinement.projection import working_rays
from common.refinement.settings import CameraSettings, MatchingSettings
from common.refinement.types import Camera, Picture
from tests.support.filmed_room import FilmedRoom, path_error, relative_rotation_error

SETTINGS = CameraSettings(threads=1, matching=MatchingSettings(all_pairs_up_to=0, partners_in_time=3, partners_alike=2))


@pytest.fixture(scope="module")
def refined(room):
    """The room refined, and what was told meanwhile."""
    told: list[tuple[str, float]] = []
    result = refine_cameras(room.pictures, room.prediction, SETTINGS, progress=lambda *args: told.append(args))
    return result, told


def test_the_path_comes_out_right(room, refined):
    result, _ = refined

    assert path_error(room.prediction.camera_to_world, room.camera_to_world) > 0.03
    assert path_error(result.camera_to_world, room.camera_to_world) < 0.006
    assert relative_rotation_error(result.camera_to_world[:, :3, :3].double(), room.camera_to_world[:, :3, :3]) < 0.3
    assert result.connected.all() and torch.equal(result.placed, result.camera_to_world)


def test_the_focal_length_comes_out_right(room, refined):
    result, _ = refined

    assert result.evidence.focal_before[0] == pytest.approx(0.85 * room.focal, rel=1e-4)
    assert result.cameras[0].focal == pytest.approx(room.focal, rel=0.02)
    assert result.evidence.focal_after == [result.cameras[0].focal]


def test_the_evidence_speaks_for_it(refined):
    evidence = refined[0].evidence

    assert evidence.refined and "cameras refined" in evidence.reason
    assert evidence.error_after < 0.5 < 2 < evidence.error_before
    assert evidence.held_back > 100 and evidence.area_agreeing > 0.8 and evidence.matches_connected > 0.9


def test_the_world_stays_the_one_of_the_network(room, refined):
    result, _ = refined
    moved = (result.camera_to_world[:, :3, 3] - room.prediction.camera_to_world[:, :3, 3]).norm(dim=1)
    path = (room.camera_to_world[1:, :3, 3] - room.camera_to_world[:-1, :3, 3]).norm(dim=1).sum()

    assert moved.median() < 0.2 * path
    assert result.depth_scale.nanmedian() == pytest.approx(1, abs=0.1)


def test_depth_scales_undo_those_of_the_network(room, refined):
    result, _ = refined
    truth = room.depth[:, 1::2, 1::2] / room.prediction.depth
    wanted = truth.flatten(1).median(dim=1).values

    ratio = result.depth_scale / wanted
    assert (ratio / ratio.median() - 1).abs().max() < 0.12


def test_stages_are_timed_and_told(refined):
    result, told = refined

    assert list(result.seconds) == list(result.cpu_seconds)
    assert {"features", "matching", "rotations", "placement", "adjustment", "verdict"} <= set(result.seconds)
    assert {stage for stage, _ in told} <= set(result.seconds)
    assert all(0 <= share <= 1 for _, share in told)


def test_with_one_thread_a_run_repeats_to_the_bit(room, refined):
    again = refine_cameras(room.pictures, room.prediction, SETTINGS)

    assert torch.equal(again.camera_to_world, refined[0].camera_to_world)
    assert again.cameras == refined[0].cameras


def test_pictures_may_be_loaded_when_they_are_asked_for(room, refined):
    class Film(Sequence):
        asked = 0

        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> Picture:
            self.asked += 1
            return room.pictures[index]

    film = Film()
    result = refine_cameras(film, room.prediction, SETTINGS)

    assert film.asked == 12
    assert torch.equal(result.camera_to_world, refined[0].camera_to_world)


def test_a_known_camera_is_believed(room):
    known = Camera(room.focal, room.focal, 159.5, 119.5, (240, 320))

    result = refine_cameras(room.pictures, room.prediction, SETTINGS, cameras=[known])

    assert result.cameras == [replace(known, known=True)]
    assert path_error(result.camera_to_world, room.camera_to_world) < 0.006


def test_two_cameras_get_a_focal_length_each(room):
    enlarged = [zoomed(picture) if index % 2 else picture for index, picture in enumerate(room.pictures)]

    result = refine_cameras(enlarged, room.prediction, SETTINGS)

    focals = [camera.focal for camera in result.cameras]
    assert focals == [pytest.approx(room.focal, rel=0.03), pytest.approx(1.5 * room.focal, rel=0.03)]
    assert path_error(result.camera_to_world, room.camera_to_world) < 0.01


def zoomed(picture: Picture) -> Picture:
    """The same picture half as large again, as of a second camera."""
    image = torch.nn.functional.interpolate(picture.image[None].float(), scale_factor=1.5, mode="bicubic")[0]
    third = torch.tensor([[1 / 1.5, 0, 0.5 / 1.5 - 0.5], [0, 1 / 1.5, 0.5 / 1.5 - 0.5], [0, 0, 1]], dtype=torch.float64)
    return replace(
        picture,
        image=image.round().clamp(0, 255).to(torch.uint8),
        camera=1,
        network_from_working=picture.network_from_working @ third,
    )


def test_a_lens_that_bends_is_noticed(room):
    bent = replace(room, pictures=[bend(picture, room.focal, -0.2) for picture in room.pictures])

    result = refine_cameras(bent.pictures, bent.prediction, SETTINGS)

    assert result.cameras[0].k1 == pytest.approx(-0.2, abs=0.06)
    assert result.cameras[0].focal == pytest.approx(room.focal, rel=0.08)  # the two trade off against each other


def bend(picture: Picture, focal: float, k1: float) -> Picture:
    """The picture that a lens with a radial term would have taken."""
    height, width = picture.size
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = torch.from_numpy(np.stack([columns, rows], axis=-1).astype(np.float64))
    camera = Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, (height, width), k1)
    source = working_rays(camera, pixels)[..., :2].numpy() * focal + [(width - 1) / 2, (height - 1) / 2]
    image = picture.image.permute(1, 2, 0).numpy()
    moved = cv2.remap(image, source.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return replace(picture, image=torch.from_numpy(moved).permute(2, 0, 1))


def test_arguments_that_do_not_go_together(room: FilmedRoom):
    with pytest.raises(ValueError, match=r"expected .* for 11 pictures"):
        refine_cameras(room.pictures[:11], room.prediction, SETTINGS)
    with pytest.raises(ValueError, match="no picture has camera 0"):
        refine_cameras([replace(picture, camera=1) for picture in room.pictures], room.prediction, SETTINGS)
    with pytest.raises(ValueError, match="320 pixels, expected 256 at most"):
        refine_cameras(room.pictures, room.prediction, replace(SETTINGS, long_side=256))
    with pytest.raises(ValueError, match="known for pictures of"):
        refine_cameras(room.pictures, room.prediction, SETTINGS, cameras=[Camera(1, 1, 0, 0, (10, 10))])


def test_frames_whose_scale_collapses_do_not_count_as_connected(room, refined):
    pictures, prediction = room.pictures, room.prediction
    depth = prediction.depth.clone()
    depth[-1] *= 100  # as if the points of the last frame had come out a hundred times nearer than the others'
    result = refine_cameras(pictures, replace(prediction, depth=depth), SETTINGS)

    assert refined[0].connected[-1] and not result.connected[-1]
    assert result.connected[:-1].sum() == refined[0].connected[:-1].sum()
