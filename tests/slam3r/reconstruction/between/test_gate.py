"""Which frames of a film are keyframes: pictures that are shifted by known amounts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from slam3r.reconstruction.between.gate import KeyframeGate
from slam3r.reconstruction.between.settings import BetweenSettings
from slam3r.reconstruction.placement.tracks import TrackedPicture

WIDTH = 100


def wall(seed: int = 0) -> np.ndarray:
    """(80, 300) grey: a wall full of corners, wider than a picture."""
    noise = np.random.default_rng(seed).integers(0, 255, (80, 300)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def walk(steps: list[int], seed: int = 0) -> list[TrackedPicture]:
    """A camera that looks at the wall and moves along it, by so many pixels before each frame."""
    places = np.cumsum(steps)
    return [TrackedPicture(np.ascontiguousarray(wall(seed)[:, place : place + WIDTH])) for place in places]


def keyframes(pictures: list[TrackedPicture], settings: BetweenSettings) -> list[int]:
    gate = KeyframeGate(settings)
    return [index for index, picture in enumerate(pictures) if gate.see(index, picture) is None]


def test_a_keyframe_every_so_many_pixels() -> None:
    """More than 8.5 of 100 pixels: every fifth frame at 2 pixels a frame, every third at 3, every one at 9."""
    settings = BetweenSettings(motion=0.085)
    assert keyframes(walk([0] + 15 * [2]), settings) == [0, 5, 10, 15]
    assert keyframes(walk([0] + 9 * [3]), settings) == [0, 3, 6, 9]
    assert keyframes(walk([0] + 4 * [9]), settings) == [0, 1, 2, 3, 4]


def test_a_camera_that_stands_still_has_a_keyframe_now_and_then() -> None:
    assert keyframes(walk([0] * 21), BetweenSettings(motion=0.085, longest=8)) == [0, 8, 16]


def test_a_cut_and_a_blank_picture_are_keyframes() -> None:
    """There, too few corners are found again; so are most, where a large share is asked for."""
    settings = BetweenSettings(motion=0.3)
    film = walk([0, 1, 1]) + walk([0, 1], seed=5)
    assert keyframes(film, settings) == [0, 3]
    blank = TrackedPicture(np.full((80, WIDTH), 127, np.uint8))
    assert keyframes([*walk([0, 1]), blank, blank], settings) == [0, 2, 3]
    assert keyframes(walk([0, 10, 1]), BetweenSettings(motion=0.3, corners=0.95)) == [0, 1]


def test_corners_of_the_last_keyframe_are_found_where_they_moved() -> None:
    gate = KeyframeGate(BetweenSettings(motion=0.085))
    first, second, third = walk([0, 9, 5])
    assert gate.see(0, first) is None and gate.see(1, second) is None
    sighting = gate.see(2, third)
    assert sighting is not None and sighting.keyframe == 1 and len(sighting.here) > 50
    assert sighting.motion == pytest.approx(5, abs=0.1)
    np.testing.assert_allclose(np.median(sighting.here - sighting.there, axis=0), [-5, 0], atol=0.1)
    assert (sighting.there == sighting.there.round()).all()


def test_a_gate_goes_on_where_its_state_was_taken() -> None:
    settings, film = BetweenSettings(motion=0.085), walk([0] + 15 * [2])
    gate, resumed = KeyframeGate(settings), KeyframeGate(settings)
    for index in range(7):
        gate.see(index, film[index])
    resumed.load_state_dict(gate.state_dict())
    assert [index for index in range(7, 16) if resumed.see(index, film[index]) is None] == [10, 15]
