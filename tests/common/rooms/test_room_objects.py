"""True furniture of a procedural room: what the pictures show of a class lies in the boxes of its pieces."""

from __future__ import annotations

import numpy as np
import pytest

from common.geometry.cameras import unproject_to_world
from common.rooms import LABEL_NAMES, room_seed, room_sequence
from common.rooms.layout import build_room
from common.rooms.objects import FURNITURE, furniture_pieces


@pytest.mark.parametrize("number", [1001, 1100])
def test_every_pixel_of_furniture_lies_in_a_piece_of_its_class(number: int) -> None:
    seed = room_seed("held_out", 0, number)
    views = room_sequence(seed, 3, (48, 64), stride=3)
    pieces = furniture_pieces(build_room(seed))
    world = unproject_to_world(views.depth, views.intrinsics, views.camera_to_world).reshape(-1, 3).numpy()
    labels = views.labels.reshape(-1).numpy()
    assert np.isin(labels, FURNITURE).any()
    for label in FURNITURE:
        own = world[labels == label]
        boxes = [piece.box for piece in pieces if piece.label == label]
        if len(own):
            assert np.any([box.contains(own, 0.02) for box in boxes], axis=0).mean() > 0.99, LABEL_NAMES[label]


def test_pieces_have_the_sizes_of_furniture_and_are_told_apart() -> None:
    pieces = furniture_pieces(build_room(room_seed("held_out", 0, 1001)))
    names = sorted(LABEL_NAMES[piece.label] for piece in pieces)
    assert names == ["bed", "chair", "chair", "chair", "chair", "chair", "sofa", "table"]
    for piece in pieces:
        assert (piece.box.size > 0.3).all() and (piece.box.size < 2.5).all()
        assert piece.box.center[2] - piece.box.size[2] / 2 == pytest.approx(0, abs=0.1)  # it stands on the floor
