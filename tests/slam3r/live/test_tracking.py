"""Losing and finding a camera, and a stride that follows its motion."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from slam3r.live.settings import StrideSettings, TrackingSettings
from slam3r.live.stride_control import MotionMeter, StrideController
from slam3r.live.tracking import TrackingMonitor, TrackingState
from tests.support.tiny_scene import registered_frames, room

INITIALISING, TRACKING = TrackingState.INITIALISING, TrackingState.TRACKING
LOST, RELOCALISED = TrackingState.LOST, TrackingState.RELOCALISED
GOOD = replace(registered_frames(1)[0], mean_confidence=9.0)
WEAK = replace(GOOD, mean_confidence=2.0)
UNPOSED = replace(GOOD, camera_to_world=None)


def states(frames: list, founding: int = 0, **settings) -> list[TrackingState]:
    monitor = TrackingMonitor(TrackingSettings(**settings), threshold=5.0)
    return [monitor.observe(frame, i < founding) for i, frame in enumerate(frames)]


def test_a_camera_is_lost_after_failures_in_a_row_and_found_after_successes_in_a_row() -> None:
    frames = [GOOD, WEAK, UNPOSED, GOOD, WEAK, WEAK, UNPOSED, WEAK, GOOD, WEAK, GOOD, GOOD, GOOD]
    expected = [TRACKING] * 6 + [LOST] * 5 + [RELOCALISED, TRACKING]
    assert states(frames, lost_after=3, found_after=2) == expected


def test_founding_frames_neither_track_nor_fail() -> None:
    assert states([WEAK] * 6, founding=4, lost_after=2) == [INITIALISING] * 4 + [TRACKING, LOST]


def test_frames_between_keyframes_do_not_count() -> None:
    """They have the confidence of the weaker keyframe beside them: one weak keyframe is one failure, not twenty."""
    between = replace(WEAK, status="placed", keyframe=False)
    assert states([GOOD, *[between] * 5, WEAK, *[between] * 5, GOOD], lost_after=2) == [TRACKING] * 13
    assert states([WEAK, between, WEAK, between, GOOD, between], lost_after=2, found_after=1) == [
        TRACKING, TRACKING, LOST, LOST, RELOCALISED, TRACKING,
    ]  # fmt: skip


def test_a_long_loss_asks_for_a_new_segment() -> None:
    monitor = TrackingMonitor(TrackingSettings(lost_after=2, reinitialise_after=5), threshold=5.0)
    asked = []
    for _ in range(6):
        monitor.observe(WEAK, False)
        asked.append(monitor.must_reinitialise)
    assert asked == [False] * 4 + [True] * 2
    never = TrackingMonitor(TrackingSettings(lost_after=1, reinitialise_after=0), threshold=5.0)
    for _ in range(1000):
        never.observe(WEAK, False)
    assert never.state is LOST
    assert not never.must_reinitialise


def test_motion_is_the_shift_of_the_picture() -> None:
    pattern = room(1, (96, 160)).images[0]
    for pixels in (1, 3):
        meter = MotionMeter()
        assert meter.measure(pattern[..., 10:138]) is None
        measured = meter.measure(pattern[..., 10 + pixels : 138 + pixels])
        assert measured == pytest.approx(pixels / 128, rel=0.25)
    assert MotionMeter().measure(torch.zeros(3, 32, 32)) is None


def follow(motions: list[float], stride: int = 4) -> list[int]:
    controller = StrideController(StrideSettings(smoothing=10, interval=5), (1, 10))
    for _ in range(30):
        controller.observe(0.02)
    controller.found(stride)
    chosen = []
    for motion in motions:
        controller.observe(motion)
        stride = controller.propose(stride)
        chosen.append(stride)
    return chosen


def test_the_stride_keeps_the_motion_between_keyframes() -> None:
    assert follow([0.02] * 50) == [4] * 50
    assert follow([0.04] * 100)[-1] in (2, 3)  # about 4 * 0.02 / 0.04, within the tolerance
    assert follow([0.01] * 100)[-1] in (6, 7, 8)


def test_the_stride_stays_in_its_bounds_and_grows_step_by_step() -> None:
    assert follow([0.5] * 100)[-1] == 1
    still = follow([0.0] * 200)
    assert still[-1] >= 8
    assert max(still) <= 10
    assert all(later - sooner <= 1 for sooner, later in pairwise(still))


def test_a_camera_that_stood_still_at_first_gets_a_sensible_target() -> None:
    controller = StrideController(StrideSettings(), (1, 10))
    controller.observe(0.0)
    controller.found(10)
    assert controller.target == StrideSettings().target_range[0]
