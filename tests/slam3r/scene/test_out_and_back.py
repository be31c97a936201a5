"""A camera that goes out and back on the same way: the same picture must come to stand in the same place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import slam3r
from common.rooms import room_seed, room_video
from tests.support.paths import SHARED_DATA

RED_KITCHEN = SHARED_DATA / "7scenes/redkitchen/seq-01"
FRAMES = 10


def room() -> np.ndarray:
    """(F, H, W, 3) uint8 frames of a procedural room that no choice was made on."""
    images = room_video(room_seed("held_out", 0, 3001), FRAMES, 224).images
    return ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def kitchen() -> np.ndarray:
    """(F, 480, 640, 3) uint8 frames of a real room, a fifth of a second apart."""
    files = sorted(RED_KITCHEN.glob("*.color.jpg"))[: 3 * FRAMES : 3]
    return np.stack([cv2.imread(str(file))[..., ::-1] for file in files])


@pytest.mark.slow
@pytest.mark.parametrize("film", [room, kitchen])
def test_the_same_picture_stands_in_the_same_place(film) -> None:
    if film is kitchen and not RED_KITCHEN.is_dir():
        pytest.skip("needs the pictures of RedKitchen beside the repository")
    out = film()
    there_and_back = np.concatenate([out, out[::-1]])
    scene = slam3r.reconstruct(there_and_back, "slam3r_tiny", refinement="cameras", device="cpu", progress=False)
    assert scene.verdict.applied == "cameras" and scene.verdict.agrees, scene.verdict.sentence()
    centres = scene.camera_to_world[:, :3, 3]
    path = np.linalg.norm(np.diff(centres[:FRAMES], axis=0), axis=1).sum()
    apart = np.linalg.norm(centres[:FRAMES] - centres[FRAMES:][::-1], axis=1)
    assert apart.max() < 0.02 * path, f"the same picture up to {apart.max() / path:.1%} of the path apart"
