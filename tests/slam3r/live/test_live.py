"""A live session as a service relies on it: one answer per frame, segments, a moving stride, checkpoints."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from common.data.sources.preprocess import denormalize, intrinsics_to_network, preprocess
from common.errors import CheckpointError, InputError
from common.geometry.calibration import Calibration
from common.geometry.undistortion import Undistorter
from common.meters import resident_memory
from slam3r.live.disk_map import DiskMap
from slam3r.live.session import LiveReconstruction
from slam3r.live.settings import (
    LiveSettings,
    MapSettings,
    StreamingSettings,
    StrideSettings,
    TrackingSettings,
    for_live,
)
from slam3r.live.tracking import TrackingState
from slam3r.live.updates import FrameUpdate
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.pretrained import ready_model
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor
from tests.support.parity import fill
from tests.support.tiny_scene import SIZES, room

SIZE = (32, 48)
RECONSTRUCTION = for_live(
    ReconstructionSettings(
        keyframe_stride=2,
        window_radius=2,
        initial_window=3,
        num_scene_frames=3,
        buffer_size=5,
        initial_confidence=0,
        weak_confidence=0,
    )
)
STREAMING = StreamingSettings(
    tracking=TrackingSettings(confidence=0.0),
    stride=StrideSettings(adapt=False),
    map=MapSettings(max_points=20_000, voxel_size=0.001, confidence=0.0),
)
SETTINGS = LiveSettings(RECONSTRUCTION, STREAMING, SIZE)


@pytest.fixture(scope="module")
def networks() -> Networks:
    # Untrained, with random weights: enough for all that does not ask whether the answers are right.
    return Networks(fill(ImageToPoints(**SIZES), "i2p"), fill(LocalToWorld(**SIZES), "l2w", "l2w/"))


def pictures(count: int) -> list[np.ndarray]:
    """A walk to and fro, (60, 80) uint8."""
    walk = list(denormalize(room(30, (60, 80)).images).numpy())
    loop = walk + walk[-2:0:-1]
    return [loop[i % len(loop)] for i in range(count)]


def run(live: LiveReconstruction, images: list, chunk: int = 3) -> list[FrameUpdate]:
    return [update for i in range(0, len(images), chunk) for update in live.push(images[i : i + chunk])]


def lost(after: int, reinitialise: int) -> LiveSettings:
    """No frame is ever good enough."""
    tracking = TrackingSettings(confidence=1e9, lost_after=after, reinitialise_after=reinitialise)
    return replace(SETTINGS, streaming=replace(STREAMING, tracking=tracking))


def test_every_frame_gets_one_answer_in_order(networks: Networks) -> None:
    live = LiveReconstruction(networks, SETTINGS)
    updates = run(live, pictures(16)) + live.flush()
    assert [update.number for update in updates] == list(range(16))
    assert [update.timestamp for update in updates] == list(range(16))
    assert all(update.frame is not None and update.segment == 0 for update in updates)
    assert [update.state.value for update in updates[:6]] == ["initialising"] * 5 + ["tracking"]
    assert all(update.references for update in updates[5:])
    assert live.statistics().frames_registered == 16
    assert live.waiting == ()


def test_the_answers_are_those_of_the_reconstructor(networks: Networks) -> None:
    live = LiveReconstruction(networks, SETTINGS)
    updates = run(live, pictures(20)) + live.flush()
    images = torch.stack([preprocess(image, SIZE).image for image in pictures(20)])
    alone = Reconstructor(networks, RECONSTRUCTION)
    frames = [frame for i in range(0, 20, 3) for frame in alone.push(images[i : i + 3])] + alone.flush()
    for update, frame in zip(updates, frames, strict=True):
        assert update.frame is not None
        assert torch.equal(update.frame.world_points, frame.world_points)


def test_answers_come_as_soon_as_they_are_final_and_are_the_same(networks: Networks) -> None:
    """Frames that waited for the founding of the world do not wait for each other."""
    searching = replace(RECONSTRUCTION, keyframe_stride=-1, stride_max=1, stride_search_frames=8)
    settings = replace(SETTINGS, reconstruction=searching)
    expected = LiveReconstruction(networks, settings).push(pictures(8))
    live = LiveReconstruction(networks, settings)
    updates, waiting = [], []
    for update in live.feed(pictures(8)):
        updates.append(update)
        waiting.append(len(live.waiting))
    assert waiting == list(range(7, -1, -1))
    for one, other in zip(updates, expected, strict=True):
        assert one.frame is not None and other.frame is not None and one.state == other.state
        assert torch.equal(one.frame.world_points, other.frame.world_points)


def test_whoever_stops_reading_answers_finds_the_rest_later(networks: Networks) -> None:
    live = LiveReconstruction(networks, SETTINGS)
    answers = live.feed(pictures(8))
    first = next(answers)
    answers.close()
    assert [first.number, *(update.number for update in live.push([]) + live.flush())] == list(range(8))


def test_waiting_frames_are_bounded_by_the_largest_delay(networks: Networks) -> None:
    settings = ReconstructionSettings(window_radius=2, initial_window=3, stride_max=3)
    live = LiveReconstruction(networks, LiveSettings(for_live(settings), STREAMING, SIZE))
    waiting = []
    for image in pictures(75):
        live.push([image])
        waiting.append(len(live.waiting))
    assert max(waiting) <= live.settings.largest_delay
    assert max(waiting[66:]) < 4  # once the stride is found, a round at most


def test_intrinsics_are_those_of_the_original_picture(networks: Networks) -> None:
    live = LiveReconstruction(networks, SETTINGS)
    update = (run(live, pictures(20)) + live.flush())[-1]
    assert update.frame is not None
    assert update.intrinsics is not None
    assert update.original_size == (60, 80)
    back = intrinsics_to_network(update.intrinsics, preprocess(pictures(1)[0], SIZE).original_from_network)
    torch.testing.assert_close(back.float(), update.frame.intrinsics)


def test_a_calibration_is_published_and_poses_use_it(networks: Networks) -> None:
    calibration = Calibration(70.0, 69.0, 40.0, 29.0, (60, 80), k1=-0.2, k2=0.03)
    live = LiveReconstruction(networks, SETTINGS, calibration)
    updates = run(live, pictures(12)) + live.flush()
    expected = Undistorter(calibration).intrinsics
    for update in updates:
        torch.testing.assert_close(update.intrinsics, expected, atol=1e-4, rtol=1e-5)
    assert updates[0].frame is not None
    straight = preprocess(Undistorter(calibration)(pictures(1)[0]), SIZE).image
    assert torch.equal(updates[0].frame.image, straight)


def test_a_bad_picture_is_refused_before_anything_is_taken(networks: Networks) -> None:
    calibrated = Calibration(70.0, 70.0, 40.0, 30.0, (60, 80))
    live = LiveReconstruction(networks, SETTINGS, calibrated)
    for bad in (np.zeros((60, 60, 3), np.uint8), np.zeros((60, 80), np.uint8), np.zeros((60, 80, 3), np.float32)):
        with pytest.raises(ValueError, match=r"expected|calibrated"):
            live.push([*pictures(2), bad])
    with pytest.raises(ValueError, match="1 timestamps"):
        live.push(pictures(2), [0.0])
    assert live.statistics().frames_pushed == 0
    assert len(run(live, pictures(20)) + live.flush()) == 20


def test_a_segment_ends_when_told_and_the_next_has_a_world_of_its_own(networks: Networks) -> None:
    ended = []
    live = LiveReconstruction(networks, SETTINGS, on_segment_end=ended.append)
    updates = run(live, pictures(14)) + live.new_segment("kitchen")
    assert len(updates) == 14
    updates += run(live, pictures(11)) + live.flush()
    assert [update.segment for update in updates] == [0] * 14 + [1] * 11
    assert [update.number for update in updates] == list(range(25))
    assert updates[14].frame is not None
    assert updates[14].frame.index == 0
    assert [segment.summary.name for segment in ended] == ["0", "kitchen"]
    assert [segment.summary.ended_by for segment in ended] == ["new segment", "flush"]
    assert all(segment.map.num_points > 0 for segment in ended)


def test_an_ended_segment_leaves_memory_without_the_garbage_collector(networks: Networks) -> None:
    """Its map alone is 88 MB by default, and a collection of old objects may be hundreds of segments away."""
    live = LiveReconstruction(networks, SETTINGS)
    run(live, pictures(14))
    scene = weakref.ref(live.map)
    assert scene() is not None and scene().num_points > 0
    gc.disable()
    try:
        live.new_segment()
        assert scene() is None
    finally:
        gc.enable()


def test_a_segment_that_is_too_short_rejects_its_frames_with_the_reason(networks: Networks) -> None:
    live = LiveReconstruction(networks, SETTINGS)
    assert run(live, pictures(2)) == []
    updates = live.new_segment()
    assert [update.number for update in updates] == [0, 1]
    assert all(update.frame is None and "initial window" in (update.reason or "") for update in updates)
    assert not any(update.trusted for update in updates)
    assert live.new_segment() == []
    assert len(run(live, pictures(12)) + live.flush()) == 12
    assert live.statistics().frames_rejected == 2


def test_a_lost_camera_stays_out_of_the_map_and_begins_a_new_segment(networks: Networks) -> None:
    live = LiveReconstruction(networks, lost(after=3, reinitialise=8))
    updates = run(live, pictures(40), chunk=1) + live.flush()
    assert [update.number for update in updates] == list(range(40))
    first = [update for update in updates if update.segment == 0]
    # Five frames found the world, the third failure is a loss, the eighth failure the end.
    assert [update.state for update in first[5:]] == [TrackingState.TRACKING] * 2 + [TrackingState.LOST] * 6
    assert all(update.map_delta is not None for update in first[:5])
    assert all(update.map_delta is None for update in first[5:])
    statistics = live.statistics()
    assert statistics.reinitialisations == updates[-1].segment >= 2
    assert statistics.losses >= 3


def test_what_a_faulty_listener_interrupts_is_delivered_later(networks: Networks) -> None:
    def fail(segment: object) -> None:
        raise OSError("disk full")

    live = LiveReconstruction(networks, SETTINGS, on_segment_end=fail)
    updates = run(live, pictures(13), chunk=13)
    with pytest.raises(OSError, match="disk full"):
        live.new_segment()
    updates += live.push([])
    assert [update.number for update in updates] == list(range(13))
    assert live.statistics().segments_closed == 1


def test_the_stride_follows_the_motion_within_its_bounds(networks: Networks) -> None:
    stride = StrideSettings(smoothing=3, interval=2, target_range=(1e-4, 0.5))
    reconstruction = replace(RECONSTRUCTION, keyframe_stride=3, stride_min=1, stride_max=4)
    live = LiveReconstruction(
        networks, replace(SETTINGS, reconstruction=reconstruction, streaming=replace(STREAMING, stride=stride))
    )
    walk = pictures(20)
    strides = []
    for image in [*walk, *[walk[-1]] * 15, *walk[::-4], *walk[::4], *walk[::-4]]:
        live.push([image])
        strides.append(live.statistics().stride)
    assert strides[34] == 4  # it stood still
    assert min(strides[35:]) < 3  # it ran
    assert set(strides) <= {1, 2, 3, 4}
    updates = live.flush()
    assert live.statistics().frames_registered == live.statistics().frames_pushed
    assert all(update.frame is not None for update in updates)


@pytest.mark.parametrize("at", [2, 8, 13])
def test_a_restored_session_goes_on_as_if_it_had_never_stopped(networks: Networks, tmp_path: Path, at: int) -> None:
    images = pictures(18)
    whole = LiveReconstruction(networks, SETTINGS)
    expected = run(whole, images[:at], 1) + run(whole, images[at:], 1) + whole.flush()
    first = LiveReconstruction(networks, SETTINGS)
    updates = run(first, images[:at], 1)
    first.checkpoint(tmp_path / "session.safetensors")
    second = LiveReconstruction.restore(tmp_path / "session.safetensors", networks)
    assert second.waiting == first.waiting
    updates += run(second, images[at:], 1) + second.flush()
    assert len(updates) == len(expected) == 18
    for ours, theirs in zip(updates, expected, strict=True):
        assert (ours.number, ours.state, ours.references) == (theirs.number, theirs.state, theirs.references)
        assert ours.frame is not None and theirs.frame is not None
        assert torch.equal(ours.frame.world_points, theirs.frame.world_points)
        assert ours.map_delta is not None and theirs.map_delta is not None
        np.testing.assert_array_equal(ours.map_delta.points, theirs.map_delta.points)
    assert second.statistics().frames_registered == 18


def test_damaged_and_foreign_checkpoints_are_named(networks: Networks, tmp_path: Path) -> None:
    live = LiveReconstruction(networks, SETTINGS)
    run(live, pictures(10))
    path = tmp_path / "session.safetensors"
    live.checkpoint(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"session\.safetensors"):
        LiveReconstruction.restore(path, networks)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not of a live session"):
        LiveReconstruction.restore(tmp_path / "other.safetensors", networks)
    save_file({"x": torch.zeros(1)}, tmp_path / "older.safetensors", {"session": '{"version": 1}'})
    with pytest.raises(CheckpointError, match=r"older\.safetensors has session version 1"):
        LiveReconstruction.restore(tmp_path / "older.safetensors", networks)
    live.checkpoint(path)
    with safe_open(path, "pt") as file:
        values, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del tensors["session/segment/map/keys"]
    save_file(tensors, tmp_path / "part.safetensors", values)
    with pytest.raises(CheckpointError, match="does not hold a whole session: KeyError"):
        LiveReconstruction.restore(tmp_path / "part.safetensors", networks)
    wider = {**SIZES, "decoder_width": 64}
    others = Networks(ImageToPoints(**wider), LocalToWorld(**wider))
    with pytest.raises(CheckpointError, match="other sizes"):
        LiveReconstruction.restore(path, others)


def test_the_map_on_disk_holds_every_voxel_as_it_was_first_seen(networks: Networks, tmp_path: Path) -> None:
    settings = replace(SETTINGS, streaming=replace(STREAMING, disk_map=str(tmp_path)))
    live = LiveReconstruction(networks, settings)
    updates = run(live, pictures(12)) + live.flush()
    stored = dict(DiskMap(tmp_path / "segment_0000").frames())
    assert list(stored) == list(range(12))
    for update in updates:
        assert update.map_delta is not None
        delta = update.map_delta
        np.testing.assert_array_equal(stored[update.number]["point"], delta.points[delta.new])


def test_a_restored_session_takes_the_map_on_disk_back_to_the_checkpoint(networks: Networks, tmp_path: Path) -> None:
    settings = replace(SETTINGS, streaming=replace(STREAMING, disk_map=str(tmp_path / "maps")))
    live = LiveReconstruction(networks, settings)
    run(live, pictures(8), 1)
    live.checkpoint(tmp_path / "session.safetensors")
    run(live, pictures(12)[8:], 1)
    live.flush()  # and then the program dies
    with pytest.raises(InputError, match="another session"):
        LiveReconstruction(networks, settings)
    again = LiveReconstruction.restore(tmp_path / "session.safetensors", networks)
    updates = run(again, pictures(12)[8:], 1) + again.flush()
    stored = [frame for frame, _ in DiskMap(tmp_path / "maps" / "segment_0000").frames()]
    assert sorted(stored) == sorted(set(stored)) == list(range(12))
    assert updates[-1].number == 11


def test_a_full_disk_ends_the_map_on_disk_and_nothing_else(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: DiskMap, records: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DiskMap, "_write_records", full)
    settings = replace(SETTINGS, streaming=replace(STREAMING, disk_map=str(tmp_path)))
    live = LiveReconstruction(networks, settings)
    assert len(run(live, pictures(45)) + live.flush()) == 45


def test_settings_that_need_the_whole_video_are_refused_and_can_be_replaced() -> None:
    with pytest.raises(ValueError, match="stride_search_frames"):
        LiveSettings(ReconstructionSettings())
    settings = for_live(ReconstructionSettings(weak_confidence=7))
    assert (settings.look_ahead, settings.stride_max, settings.buffer_confidence) == (0, 10, 7)
    own = for_live(ReconstructionSettings(look_ahead=5, stride_search_frames=20, stride_max=3))
    assert (own.look_ahead, own.stride_search_frames, own.stride_max) == (5, 20, 3)


@pytest.mark.slow
def test_memory_and_time_per_frame_stay_flat() -> None:
    model = ready_model("slam3r_tiny", device="cpu", dtype="float32")
    reconstruction = replace(for_live(model.settings), keyframe_stride=4, buffer_size=20)
    streaming = StreamingSettings(map=MapSettings(max_points=50_000, confidence=5.0))
    live = LiveReconstruction(model.network, LiveSettings(reconstruction, streaming, (48, 48)))
    memory = {}
    for number, image in enumerate(pictures(900), 1):
        live.push([image])
        if number in (300, 900):
            memory[number] = resident_memory()
    assert memory[900] < 1.05 * memory[300]


@pytest.mark.slow
def test_a_covered_lens_loses_the_camera_and_retrieval_finds_it_again() -> None:
    model = ready_model("slam3r_tiny", {"rigid_registration": True}, "cpu", "float32")
    reconstruction = replace(for_live(model.settings), keyframe_stride=2)
    settings = LiveSettings(reconstruction, StreamingSettings(map=MapSettings(confidence=5.0)), (96, 128))
    live = LiveReconstruction(model.network, settings)
    walk = list(denormalize(room(40, (96, 128)).images).numpy())
    covered = [np.random.default_rng(i).integers(0, 20, (96, 128, 3), np.uint8) for i in range(14)]
    updates = run(live, [*walk, *covered, *walk[::-1][:20]], 2) + live.flush()
    seen = [update.state for update in updates]
    assert TrackingState.LOST not in seen[:40]
    assert TrackingState.LOST in seen[40:54]
    assert TrackingState.RELOCALISED in seen[54:]
    assert all(update.map_delta is None for update in updates if update.state is TrackingState.LOST)
    # Back on the way it came: found by frames from before the loss, and nothing of the loss became a reference.
    assert set(updates[54].references) <= set(range(40))
    assert not any(set(update.references) & set(range(40, 54)) for update in updates)
