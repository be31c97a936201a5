"""Training windows."""

import json

import numpy as np
import pytest

from common.data.scenes.sampling import consecutive_windows, orbit_window, orbit_window_count
from tests.support.parity import find


def test_published_orbit_windows():
    case = json.loads(find("sampling.json").read_text())["co3d_windows"]
    generator = np.random.default_rng(case["rng_seed"])
    for index, frames in case["index_and_frames"]:
        assert orbit_window(index, case["views"], generator, 100, case["window"], case["sel_num"]).tolist() == frames


def test_orbit_windows_wrap_round_and_have_no_frame_twice():
    generator = np.random.default_rng(0)
    for index in range(orbit_window_count(100)):
        frames = orbit_window(index, 13, generator, frame_count=100)
        assert len(set(frames.tolist())) == 13 and set(frames.tolist()) <= set(range(100))
    assert orbit_window(299, 11, generator, frame_count=100)[0] == 98
    assert orbit_window(299, 11, generator, frame_count=100)[-1] == 48
    with pytest.raises(ValueError, match="60 views"):
        orbit_window(0, 60, generator)


def test_consecutive_windows():
    windows = consecutive_windows(range(0, 330, 10), views=11, stride=3, number_step=10)
    assert windows.tolist() == [list(range(0, 31, 3)), list(range(1, 32, 3)), list(range(2, 33, 3))]
    assert consecutive_windows(range(30), views=11, stride=3).shape == (0, 11)
    assert consecutive_windows([], views=2).shape == (0, 2)
    assert consecutive_windows([4, 5], views=1).tolist() == [[0], [1]]


def test_windows_over_a_gap_are_dropped_from_three_times_the_span():
    # three views of numbers that advance by one span 2: a span of 5 is kept, 6 is dropped
    assert consecutive_windows([0, 1, 5, 6], views=3).tolist() == [[0, 1, 2], [1, 2, 3]]
    assert consecutive_windows([0, 1, 6, 7, 8], views=3).tolist() == [[2, 3, 4]]
    # iPhone sequences advance by 10: 13 views, every third, span 36 frames and 360 numbers
    frames = list(range(0, 370, 10))
    assert len(consecutive_windows(frames[:-1] + [1079], views=13, stride=3, number_step=10)) == 1
    assert len(consecutive_windows(frames[:-1] + [1080], views=13, stride=3, number_step=10)) == 0
