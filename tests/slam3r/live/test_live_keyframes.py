"""A live session in which keyframes alone go through the networks: one answer per frame, points of keyframes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.rooms import room_seed, room_video
from slam3r.live.session import FrameUpdate, LiveReconstruction
from slam3r.live.settings import LiveSettings, MapSettings, StreamingSettings, TrackingSettings, for_live
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction import Networks, ReconstructionSettings
from slam3r.reconstruction.between.settings import BetweenSettings
from tests.support.parity import fill
from tests.support.tiny_scene import SIZES

SETTINGS = LiveSettings(
    for_live(
        ReconstructionSettings(
            between=BetweenSettings(motion=0.05, longest=6),
            keyframe_stride=1,
            window_radius=1,
            initial_window=3,
            num_scene_frames=3,
            buffer_size=5,
            initial_confidence=0,
            weak_confidence=0,
        )
    ),
    StreamingSettings(
        tracking=TrackingSettings(confidence=0.0), map=MapSettings(20_000, voxel_size=0.001, confidence=0.0)
    ),
    (64, 80),
)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(fill(ImageToPoints(**SIZES), "i2p"), fill(LocalToWorld(**SIZES), "l2w", "l2w/"))


@pytest.fixture(scope="module")
def film() -> torch.Tensor:
    """(24, 3, 64, 80) a slow walk through a room."""
    return room_video(room_seed("held_out", 0, 5), 24, (64, 80), step=0.01, turn=1.0).images


def run(live: LiveReconstruction, film: torch.Tensor) -> list[FrameUpdate]:
    return [update for first in range(0, len(film), 3) for update in live.push(film[first : first + 3])]


def test_every_frame_has_one_answer_and_keyframes_fill_the_map(networks: Networks, film: torch.Tensor) -> None:
    live, most = LiveReconstruction(networks, SETTINGS), 0
    updates: list[FrameUpdate] = []
    for image in film:
        updates += live.push(image[None])
        most = max(most, len(live.waiting))
    updates += live.flush()
    assert [update.number for update in updates] == list(range(24)) and most <= SETTINGS.largest_delay
    frames = [update.frame for update in updates if update.frame is not None]
    alone = [frame for frame in frames if not frame.has_pointmap]
    assert len(frames) == 24 and 6 <= len(alone) <= 18
    for update in updates:
        assert update.frame is not None
        if not update.frame.has_pointmap:
            assert update.references == () and (update.map_delta is None or not len(update.map_delta.points))
    assert any(update.references for update in updates)


def test_a_session_goes_on_after_a_checkpoint(networks: Networks, film: torch.Tensor, tmp_path: Path) -> None:
    live = LiveReconstruction(networks, SETTINGS)
    run(live, film[:12])
    live.checkpoint(tmp_path / "session.safetensors")
    again = LiveReconstruction.restore(tmp_path / "session.safetensors", networks)
    expected, found = (run(session, film[12:]) + session.flush() for session in (live, again))
    for one, other in zip(expected, found, strict=True):
        assert one.frame is not None and other.frame is not None
        assert (one.number, one.frame.status) == (other.number, other.frame.status)
        assert torch.equal(one.frame.world_points, other.frame.world_points)
        if one.frame.camera_to_world is not None:
            torch.testing.assert_close(one.frame.camera_to_world, other.frame.camera_to_world)
