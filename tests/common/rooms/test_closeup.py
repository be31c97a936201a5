"""Rooms filmed from near: one thing fills the picture, the camera stays out of solids, and most of it stays in view."""

import numpy as np
import pytest
import torch

from common.rooms import room_sequence
from common.rooms.camera_path import Tilt
from common.rooms.closeup import orbit_thing
from common.rooms.layout import build_room

SIZE = (24, 24)
STEP, TURN = (0.1, 0.3), (3.0, 10.0)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_what_is_filmed_from_near_is_near(seed: int) -> None:
    tilt = Tilt(lean=0.1)
    near = room_sequence(seed, 4, SIZE, step=STEP, turn=TURN, tilt=tilt, close=True)
    far = room_sequence(seed, 4, SIZE, step=STEP, turn=TURN, tilt=tilt)
    assert near.depth.median() < 0.7 * far.depth.median()


def test_a_camera_stays_out_of_solids_and_moves_less_than_on_walks() -> None:
    room = build_room(11)
    poses = orbit_thing(room, np.random.default_rng(0), 5, STEP, TURN)
    assert poses is not None
    assert room.primitives.clearance(poses[:, :3, 3]).min() > 0.1
    steps = (poses[1:, :3, 3] - poses[:-1, :3, 3]).norm(dim=-1)
    assert 0.005 < steps.mean() < STEP[1]
    turned = poses[:, :3, :3].transpose(1, 2) @ poses[:, :3, :3]
    assert torch.allclose(turned, torch.eye(3).expand_as(turned), atol=1e-5)


def test_the_same_seed_films_the_same() -> None:
    first, second = (room_sequence(7, 3, SIZE, step=STEP, turn=TURN, close=True) for _ in range(2))
    assert torch.equal(first.images, second.images) and torch.equal(first.camera_to_world, second.camera_to_world)


def test_a_room_without_things_has_no_such_path() -> None:
    room = build_room(11)
    room.primitives = room.primitives[:1]
    assert orbit_thing(room, np.random.default_rng(0), 5, STEP, TURN) is None
