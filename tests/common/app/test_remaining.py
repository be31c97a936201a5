"""The remaining time: from the speed so far, and from how long stages usually take."""

from __future__ import annotations

import pytest

from common.app.contract import Watcher
from common.app.jobs import progress_bar
from common.app.remaining import Remaining, duration_in_words


class Clock:
    """Time as the test sets it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_said_too_early_nor_without_a_plan(clock: Clock) -> None:
    remaining = Remaining({"read": 1, "register": 3}, clock)
    remaining.at("read", 0.5)
    clock.now = 1
    assert remaining.seconds is None
    unplanned = Remaining({}, clock)
    unplanned.at("read", 0.5)
    clock.now = 100
    assert unplanned.seconds is None


def test_later_stages_take_as_long_as_they_usually_do_on_a_machine_of_this_speed(clock: Clock) -> None:
    remaining = Remaining({"read": 1, "register": 3}, clock)
    remaining.at("read", 0.5)
    clock.now = 10  # so all of reading takes 20
    assert remaining.seconds == pytest.approx(10 + 60)
    clock.now = 20
    remaining.at("register", 0)
    assert remaining.seconds == pytest.approx(60)
    clock.now = 40
    remaining.at("register", 0.5)  # twice as fast as it was thought
    assert remaining.seconds == pytest.approx(20)


def test_stages_that_are_not_planned_change_nothing(clock: Clock) -> None:
    remaining = Remaining({"read": 1, "register": 1}, clock)
    remaining.at("read", 0.5)
    clock.now = 10
    before = remaining.seconds
    remaining.at("write", 0.9)
    assert remaining.seconds == before


def test_a_stage_goes_by_the_longest_name_that_it_begins_with(clock: Clock) -> None:
    remaining = Remaining({"read": 1, "read, trying": 1, "register": 2}, clock)
    clock.now = 10
    remaining.at("read, trying stride 3", 0)
    assert remaining.seconds == pytest.approx(10 + 20)


def test_the_page_gets_stage_share_and_remaining_time() -> None:
    watcher = Watcher()
    watcher.report("refine: sweep 1", 0.25, 1.0)
    bar = progress_bar(*watcher.state)
    assert "Refine: sweep 1: 25%" in bar and 'value="0.25" max="1"' in bar and "left" not in bar
    assert "Register: 3 of 30" in progress_bar("register", 3, 30) and "about 2 min left" in progress_bar("x", 0, 1, 110)
    assert "value" not in progress_bar("load the model", 0, None)


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "5 s"), (22, "20 s"), (54, "55 s"), (70, "1 min"), (3601, "1 h"), (4200, "1 h 10 min")]
)
def test_durations_are_rounded(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words
