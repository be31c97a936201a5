"""Progress of long work: quiet at first, then lines in a file, a bar on a terminal."""

import io
import threading
import time

import pytest

from common.progress import ProgressReporter, between_bars, listening

QUICK = 0.02
"""Seconds between lines, for tests."""


class Terminal(io.StringIO):
    """Text that claims to be a terminal."""

    def isatty(self):
        return True


class Log(io.StringIO):
    """A file that counts its lines as they come."""

    def __init__(self):
        super().__init__()
        self.written = threading.Event()

    def write(self, text):
        self.written.set()
        return super().write(text)

    def next_line(self):
        self.written.clear()
        assert self.written.wait(5), "no line came"
        return self.getvalue().splitlines()[-1]


@pytest.fixture
def log():
    return Log()


def test_a_file_gets_a_line_with_stage_share_and_time(log):
    with ProgressReporter("read", 8, "frame", file=log, interval=QUICK) as progress:
        progress.update(2)
        assert log.next_line() == "read: 2 of 8 frames (25 %), 0 s"


def test_work_that_makes_no_step_still_gives_signs_of_life(log):
    with ProgressReporter("rooms", 1, "scene", file=log, interval=QUICK):
        log.next_line(), log.next_line()
    assert len(log.getvalue().splitlines()) >= 2


def test_short_work_writes_nothing(log):
    with ProgressReporter("read", 8, "frame", file=log) as progress:
        progress.update(8)
    assert log.getvalue() == ""


def test_work_inside_other_work_is_in_one_line(log):
    with ProgressReporter("evaluate room_7", 4, "scene", file=log, interval=QUICK) as outer:
        outer.update()
        with ProgressReporter("refine", 1.0, file=log, interval=QUICK) as inner:
            inner.at("refine: matching", 0.4)
            assert log.next_line() == "evaluate room_7: 1 of 4 scenes (25 %), refine: matching: 40 %, 0 s"
        assert log.next_line() == "evaluate room_7: 1 of 4 scenes (25 %), 0 s"


def test_nothing_is_written_after_the_end_nor_by_an_error(log):
    with pytest.raises(ValueError), ProgressReporter("read", 8, "frame", file=log, interval=QUICK):
        raise ValueError
    before = log.getvalue()
    time.sleep(4 * QUICK)
    assert log.getvalue() == before


def test_work_of_unknown_length_and_stages_that_count_again(log):
    with ProgressReporter("read", None, "frame", file=log, interval=QUICK) as progress:
        assert list(progress.over(range(3))) == [0, 1, 2]
        assert progress.sentence == "read: 3 frames"
        progress.restart("register")
        assert progress.sentence == "register: 0 frames"
    with ProgressReporter("score", file=log) as progress:
        assert progress.sentence == "score"


def test_a_terminal_gets_a_bar_at_once():
    terminal = Terminal()
    with ProgressReporter("read", 4, "frame", file=terminal) as progress:
        progress.update(4)
        progress.describe("register")
        with between_bars():
            pass
    assert "register: 100%" in terminal.getvalue() and "4/4" in terminal.getvalue()


def test_progress_that_is_not_wanted_writes_nowhere(log):
    terminal = Terminal()
    for file in (log, terminal):
        with ProgressReporter("read", 4, "frame", show=False, file=file, interval=QUICK) as progress:
            progress.update()
            time.sleep(3 * QUICK)
        assert file.getvalue() == ""


def test_a_reader_that_went_away_does_not_disturb_the_work():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with ProgressReporter("read", 4, "frame", file=Gone(), interval=QUICK) as progress:
        time.sleep(3 * QUICK)
        progress.update()


def test_a_listener_is_told_every_step_also_where_nothing_is_shown(log):
    told = []
    with listening(lambda *step: told.append(step)), ProgressReporter("read", 3, "frame", show=False) as progress:
        progress.update()
        progress.restart("register")
        with ProgressReporter("refine", 1.0, show=False) as inner:
            inner.at("refine: sweep", 0.5)
    with ProgressReporter("read", 3, "frame", show=False) as progress:
        progress.update()
    assert told[:3] == [("read", 0, 3), ("read", 1, 3), ("register", 0, 3)]
    assert told[3] == ("refine", 0, 1.0) and told[-1] == ("refine: sweep", 0.5, 1.0)


def test_a_listener_can_end_the_work_and_leaves_no_trace(log):
    def end(stage, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(end), ProgressReporter("read", 3, file=log) as progress:
        progress.update()
    with ProgressReporter("score", 8, "scene", file=log, interval=QUICK):
        assert log.next_line().startswith("score: 0 of 8"), "it is part of no other work"
