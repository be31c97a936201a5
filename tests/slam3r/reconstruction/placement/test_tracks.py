"""Corners followed from picture to picture, and where they put a frame."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.geometry.cameras import unproject_depth
from common.geometry.transforms import apply_transform
from common.rooms import room_seed, room_sequence
from common.views import Views
from slam3r.reconstruction import ReconstructionSettings
from slam3r.reconstruction.frames import FrameInput, WorldPointmap
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.placement.rigid import place
from slam3r.reconstruction.placement.track_votes import tracked_neighbours, votes_of_tracks
from slam3r.reconstruction.placement.tracks import TrackedPicture, follow
from slam3r.reconstruction.placement.votes import Votes, votes_of_network

SETTINGS = ReconstructionSettings(rigid_registration=True, rigid_neighbours=5, rigid_tracks=True)


@pytest.fixture(scope="module")
def walk() -> Views:
    """Six frames of a room, with their geometry."""
    return room_sequence(room_seed("held_out", 0, 3), 6, 224)


def local_points(walk: Views) -> Tensor:
    """(V, H, W, 3) true points in each frame's own camera, metres."""
    return unproject_depth(walk.depth, walk.intrinsics)


def world_points(walk: Views) -> Tensor:
    """(V, H, W, 3) true points in the world, metres."""
    return apply_transform(walk.camera_to_world, local_points(walk))


def store_of(walk: Views, registered: int) -> FrameStore:
    """All pictures; the first few frames registered where they truly are."""
    store, world = FrameStore(), world_points(walk)
    for i, image in enumerate(walk.images):
        store.inputs[i] = FrameInput(torch.zeros(1, 1), image, float(i), str(i))
        if i < registered:
            store.world[i] = WorldPointmap(world[i], torch.full(world.shape[1:3], 9.0), walk.depth[i] > 0, 9.0)
    return store


def picture(image: Tensor) -> TrackedPicture:
    return TrackedPicture.from_image(image)


def votes_that_agree_with(world: Tensor, local: Tensor) -> Votes:
    """A network's, sure of all its points."""
    return votes_of_network(local, world, torch.full(world.shape[:3], 9.0), torch.ones(world.shape[:3]) > 0)


def placed(local: Tensor, world: Tensor, votes: list[Votes]) -> Tensor:
    return place(local, world, torch.ones(len(local)) > 0, votes)


def test_followed_corners_are_the_same_points(walk: Views) -> None:
    first, second = follow(picture(walk.images[0]), picture(walk.images[1]))
    assert len(first) == len(second) > 50
    world = world_points(walk)
    apart = (world[0][first[:, 0], first[:, 1]] - world[1][second[:, 0], second[:, 1]]).norm(dim=-1)
    assert apart.median() < 0.03  # metres; a pixel is about 1.5 cm wide there


def test_pictures_that_share_nothing_give_none(walk: Views) -> None:
    blank = torch.zeros(3, 224, 224)
    assert len(follow(picture(blank), picture(walk.images[0]))[0]) == 0
    noise = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert len(follow(picture(walk.images[0]), picture(noise))[0]) < 5


def test_they_place_a_frame_that_the_network_put_elsewhere(walk: Views) -> None:
    store, local, truth = store_of(walk, 5), 0.4 * local_points(walk)[5:], world_points(walk)[5:]
    wrong = truth @ torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]) + 2
    network = votes_that_agree_with(wrong, local)
    tracks = votes_of_tracks([5], local, 1, store, SETTINGS)
    error = (placed(local, wrong, [network, tracks]) - truth).norm(dim=-1).mean()
    assert (placed(local, wrong, [network]) - truth).norm(dim=-1).mean() > 1
    assert error < 0.03


def test_a_frame_that_shows_nothing_known_is_left_to_the_network(walk: Views) -> None:
    store, local, truth = store_of(walk, 5), local_points(walk)[5:], world_points(walk)[5:]
    store.inputs[5] = replace(store.inputs[5], image=torch.zeros(3, 224, 224))
    network = votes_that_agree_with(truth, local)
    votes = votes_of_tracks([5], local, 1, store, SETTINGS)
    assert votes.weight.numel() == 0
    torch.testing.assert_close(placed(local, truth, [network, votes]), truth, rtol=0, atol=1e-3)


def test_a_picture_full_of_corners_weighs_one_per_neighbour(walk: Views) -> None:
    local = local_points(walk)[4:]
    votes = votes_of_tracks([4, 5], local, 1, store_of(walk, 4), SETTINGS)
    neighbours = [len(tracked_neighbours(frame, 1, store_of(walk, 4), SETTINGS)) for frame in (4, 5)]
    for total, count in zip(votes.weight.sum(dim=1), neighbours, strict=True):
        assert 0.2 * count < total <= count
    alone = votes_of_tracks([4], local[:1], 1, store_of(walk, 4), SETTINGS)
    torch.testing.assert_close(alone.weight[0], votes.weight[0][: alone.weight.shape[1]])


def test_neighbours_grow_apart(walk: Views) -> None:
    store = store_of(walk, 5)
    assert tracked_neighbours(5, 1, store, SETTINGS) == [4, 3, 1]
    del store.world[4]
    assert tracked_neighbours(5, 1, store, SETTINGS) == [3, 1]
    assert tracked_neighbours(5, 1, store, replace(SETTINGS, rigid_neighbours=2)) == [3]
    store.world[3].mean_confidence = 1.0
    assert tracked_neighbours(5, 1, store, replace(SETTINGS, buffer_confidence=5.0)) == [2]
