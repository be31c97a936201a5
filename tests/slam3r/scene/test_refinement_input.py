"""Input of the refinement: the pictures held, and those that share a camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common.data.sources.frame_source import Frame
from common.data.sources.preprocess import preprocess
from slam3r.scene.refinement_input import RefinementInput
from tests.support.tiny_scene import registered_frames

SIZE = (48, 64)


def photograph(folder: Path, index: int, model: str, focal: int, size: tuple[int, int] = SIZE) -> Frame:
    """A photograph whose EXIF names the camera and the focal length."""
    image = np.full((*size, 3), 10 * index, np.uint8)
    exif = Image.Exif()
    exif[0x0110] = model
    exif.get_ifd(0x8769)[0xA405] = focal
    path = folder / f"photo{index}.jpg"
    Image.fromarray(image).save(path, exif=exif)
    return Frame(image, index, index / 30, path.name, path)


def hold(held: RefinementInput, frames: list[Frame], registered: list[int] | None = None) -> None:
    words = registered_frames(max(len(frames), 6))
    for index, frame in enumerate(frames):
        held.keep(frame, preprocess(frame.image, SIZE))
        if registered is None or index in registered:
            held.add(words[index])


def test_pictures_of_one_camera_and_zoom_share_a_camera(tmp_path: Path) -> None:
    taken = [("A", 28), ("B", 28), ("A", 28), ("A", 50)]
    frames = [photograph(tmp_path, index, *camera) for index, camera in enumerate(taken)]
    frames.append(photograph(tmp_path, 4, "A", 28, (64, 48)))
    held = RefinementInput(1024)
    hold(held, frames)
    assert [picture.camera for picture in held.pictures()] == [0, 1, 0, 2, 3]


def test_cameras_are_numbered_without_gaps_where_a_frame_was_not_registered(tmp_path: Path) -> None:
    frames = [photograph(tmp_path, index, model, 28) for index, model in enumerate("ABCA")]
    held = RefinementInput(1024)
    hold(held, frames, registered=[0, 2, 3])
    assert held.frames == [0, 2, 3]
    assert [picture.camera for picture in held.pictures()] == [0, 1, 0]


def test_large_pictures_are_scaled_down_and_keep_their_way_to_network_pixels(tmp_path: Path) -> None:
    held = RefinementInput(100)
    hold(held, [photograph(tmp_path, 0, "A", 28, (150, 200))])
    picture = held.pictures()[0]
    assert picture.size == (75, 100) and picture.original_size == (150, 200)
    corners = torch.tensor([[-0.5, 99.5], [-0.5, 74.5], [1.0, 1.0]], dtype=torch.float64)
    outer = picture.network_from_working @ corners
    torch.testing.assert_close(outer[:2], torch.tensor([[-0.5, 63.5], [-0.5, 47.5]], dtype=torch.float64))


def test_a_sample_is_spread_over_the_run_in_groups_of_neighbours(tmp_path: Path) -> None:
    held = RefinementInput(1024, most=6)
    image = np.zeros((*SIZE, 3), np.uint8)
    word = registered_frames(6)[0]
    for index in range(40):
        held.keep(Frame(image, index, index / 30, str(index)), preprocess(image, SIZE))
        held.add(replace(word, index=index))
    assert held.frames == [0, 1, 3, 32, 33, 35] and not held.complete


def test_a_frame_without_a_pose_is_held_with_its_own_depth(tmp_path: Path) -> None:
    held = RefinementInput(1024)
    hold(held, [photograph(tmp_path, index, "A", 28) for index in range(6)])  # frame 5 has no pose
    prediction = held.prediction()
    assert prediction.camera_to_world[5].isnan().all() and prediction.camera_to_world[4].isfinite().all()
    assert prediction.valid[5].any() and (prediction.depth[5][prediction.valid[5]] > 0).all()
