"""The machine in which keyframes alone are reconstructed: every frame comes out, in order, many with a pose alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common.rooms import room_seed, room_video
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor, SequenceTooShort
from slam3r.reconstruction.between.keyframe_reconstructor import KeyframeReconstructor
from slam3r.reconstruction.between.settings import BetweenSettings
from slam3r.reconstruction.between.start import start_reconstruction
from slam3r.reconstruction.events import Initialized, Registered
from slam3r.reconstruction.frames import RegisteredFrame
from tests.support.parity import fill

SIZES = {
    "encoder_width": 32,
    "encoder_depth": 1,
    "encoder_heads": 2,
    "decoder_width": 32,
    "decoder_depth": 2,
    "decoder_heads": 2,
}
SETTINGS = ReconstructionSettings(
    between=BetweenSettings(motion=0.05),
    keyframe_stride=1,
    window_radius=1,
    initial_window=3,
    num_scene_frames=3,
    buffer_size=4,
    initial_confidence=0,
)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(fill(ImageToPoints(**SIZES), "i2p"), fill(LocalToWorld(**SIZES), "l2w", "l2w/"))


@pytest.fixture(scope="module")
def film() -> Tensor:
    """(24, 3, 64, 80) a slow walk through a room."""
    return room_video(room_seed("held_out", 0, 5), 24, (64, 80), step=0.01, turn=1.0).images


def run(networks: Networks, images: Tensor, settings: ReconstructionSettings = SETTINGS, chunk: int = 5):
    events: list = []
    machine = start_reconstruction(networks, settings, events.append)
    frames = [frame for first in range(0, len(images), chunk) for frame in machine.push(images[first : first + chunk])]
    return [*frames, *machine.flush()], machine, events


def same(first: list[RegisteredFrame], second: list[RegisteredFrame]) -> None:
    for one, other in zip(first, second, strict=True):
        assert (one.index, one.name, one.status) == (other.index, other.name, other.status)
        torch.testing.assert_close(one.world_points, other.world_points)
        torch.testing.assert_close(one.camera_to_world, other.camera_to_world)


def test_every_frame_comes_out_in_order_and_keyframes_alone_have_points(networks: Networks, film: Tensor) -> None:
    frames, _, events = run(networks, film)
    assert [frame.index for frame in frames] == list(range(24))
    keyframes = [frame.index for frame in frames if frame.has_pointmap]
    assert keyframes[0] == 0 and keyframes[-1] == 23 and 4 <= len(keyframes) <= 16
    for frame in frames:
        assert bool(frame.valid.any()) == frame.has_pointmap
        assert frame.image.equal(film[frame.index])
        if not frame.has_pointmap:
            before = max(index for index in keyframes if index < frame.index)
            after = min(index for index in keyframes if index > frame.index)
            assert [sighting.keyframe for sighting in frame.sightings] == [before, after]
            assert frame.status in ("placed", "interpolated") and not frame.keyframe
    founding = [event for event in events if isinstance(event, Initialized)]
    assert founding[0].frames == tuple(keyframes[:3])
    named = {frame for event in events if isinstance(event, Registered) for frame in (*event.buffer, *event.queries)}
    assert named <= set(keyframes)


def test_keyframes_are_reconstructed_as_if_they_were_the_video(networks: Networks, film: Tensor) -> None:
    frames, machine, _ = run(networks, film)
    assert isinstance(machine, KeyframeReconstructor)
    keyframes = [frame for frame in frames if frame.has_pointmap]
    alone = Reconstructor(networks, replace(SETTINGS, between=BetweenSettings()))
    images = film[[frame.index for frame in keyframes]]
    for frame, expected in zip(keyframes, [*alone.push(images), *alone.flush()], strict=True):
        torch.testing.assert_close(frame.world_points, expected.world_points)
        torch.testing.assert_close(frame.camera_to_world, expected.camera_to_world)


def test_how_frames_arrive_makes_no_difference(networks: Networks, film: Tensor) -> None:
    same(run(networks, film, chunk=1)[0], run(networks, film, chunk=24)[0])


def test_off_it_is_the_published_machine(networks: Networks) -> None:
    assert isinstance(start_reconstruction(networks, ReconstructionSettings()), Reconstructor)


def test_a_machine_goes_on_where_its_state_was_taken(networks: Networks, film: Tensor) -> None:
    first, second = KeyframeReconstructor(networks, SETTINGS), KeyframeReconstructor(networks, SETTINGS)
    before = first.push(film[:17])
    second.load_state_dict(first.state_dict())
    assert 0 < len(before) < 17
    same([*first.push(film[17:]), *first.flush()], [*second.push(film[17:]), *second.flush()])


def test_state_does_not_grow_with_the_video(networks: Networks, film: Tensor) -> None:
    """There and back again, eight times."""
    machine = KeyframeReconstructor(networks, SETTINGS)
    held = []
    for _ in range(8):
        machine.push(torch.cat([film[::2], film[::2].flip(0)]))
        held.append((machine.num_held, len(machine.state_dict()["numbers"])))
    assert max(held[4:]) <= max(held[:4])


def test_a_single_frame_is_too_short_and_two_are_two_keyframes(networks: Networks, film: Tensor) -> None:
    machine = KeyframeReconstructor(networks, SETTINGS)
    assert machine.push(film[:1]) == []
    with pytest.raises(SequenceTooShort):
        machine.flush()
    frames, _, _ = run(networks, film[:2])
    assert [frame.has_pointmap for frame in frames] == [True, True]


def test_pictures_of_another_size_are_refused(networks: Networks, film: Tensor) -> None:
    machine = KeyframeReconstructor(networks, SETTINGS)
    machine.push(film[:2])
    with pytest.raises(ValueError, match="one size"):
        machine.push(film[:1, :, :32])
    machine.flush()
    with pytest.raises(RuntimeError, match="flushed"):
        machine.push(film[:1])
