"""State for the next worker: frames that are done, worlds and their numbers, checkpoints, suspects."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("aio_pika", reason="needs the extra: service")

from common.errors import InputError
from slam3r.service.frame_key import FrameKey
from slam3r.service.intake.ledger import Ledger
from slam3r.service.intake.suspects import Suspects
from slam3r.service.state.database import StateDatabase
from slam3r.service.state.folder import DATABASE, Pending, StateFolder, StreamState
from slam3r.service.streams.streams import Streams
from tests.support.deliveries import Message
from tests.support.service_worker import random_sessions


def key(number: int) -> FrameKey:
    return FrameKey("s", "a", number)


def test_every_delivery_of_a_frame_is_acknowledged_once_it_is_done() -> None:
    ledger = Ledger(10, StateDatabase(None))
    first, again, late = Message(), Message(), Message()
    assert ledger.offer(key(1), first) == "new"
    assert ledger.offer(key(1), again) == "open"
    assert ledger.complete([key(1)]) == [first, again]
    assert ledger.offer(key(1), late) == "done"
    ledger.offer(key(2), late)
    assert ledger.drop(key(2)) == [late]
    assert ledger.offer(key(2), late) == "new"  # what was dropped may be sent again


def test_the_good_frame_that_comes_after_a_poisonous_one_is_no_duplicate() -> None:
    ledger = Ledger(10, StateDatabase(None))
    poison, good = Message(), Message()
    ledger.offer(key(1), poison)
    assert ledger.refuse(key(1), poison) is None
    assert ledger.offer(key(1), good) == "new"
    assert ledger.complete([key(1)]) == [good]
    ledger.offer(key(2), poison)
    assert ledger.offer(key(2), good) == "open"  # it came before the poisonous one was decoded
    assert ledger.refuse(key(2), poison) is good
    assert ledger.complete([key(2)]) == [good]


def test_a_new_worker_knows_what_the_killed_one_published(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    killed = Ledger(100, StateDatabase(path))
    for number in range(1000):
        killed.complete([key(number)])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM done").fetchone() == (100,)
    successor = Ledger(100, StateDatabase(path))  # the first was never closed
    assert successor.offer(key(999), Message()) == "done"
    assert successor.offer(key(1000), Message()) == "new"
    assert successor.offer(key(5), Message()) == "new"  # too long ago


@pytest.mark.parametrize("damage", [b"no database at all", b"SQLite format 3\x00" + bytes(3000)])
def test_a_damaged_database_is_moved_aside(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / DATABASE).write_bytes(damage)
    database = StateDatabase(tmp_path / DATABASE)
    assert database.done_frames(10) == []
    assert database.begin_world("s", "a") == 0
    assert "is damaged" in caplog.text
    assert [path.read_bytes() for path in tmp_path.glob("*.damaged-*")] == [damage]


def test_a_full_disk_does_not_stop_the_stream_and_parts_do_not_repeat(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = StateDatabase(tmp_path / DATABASE)
    assert database.begin_world("s", "a") == 0
    database._connection.execute("PRAGMA query_only = 1")  # every write is an error from here on
    assert [database.begin_world("s", "a") for _ in range(3)] == [1, 2, 3]
    database.add_done([key(1)], 10)
    assert caplog.text.count("the state was not written") == 1
    database._connection.execute("PRAGMA query_only = 0")
    assert database.begin_world("s", "a") == 4
    database.close()
    assert StateDatabase(tmp_path / DATABASE).begin_world("s", "a") == 5


def test_worlds_are_told_once_and_their_numbers_never_repeat(tmp_path: Path) -> None:
    first = StateDatabase(tmp_path / DATABASE)
    assert [first.begin_world("s", "a"), first.begin_world("s", "b"), first.begin_world("t", "a")] == [0, 0, 0]
    first.end_world("s", "a", 0, "segment", 7)
    first.end_world("s", "b", 0, "stopped", 9)
    first.forget_world("s", "a", 0)
    first.close()
    second = StateDatabase(tmp_path / DATABASE)
    left = [(world.stream_id, world.segment, world.part, world.reason, world.frames) for world in second.worlds()]
    assert left == [("s", "b", 0, "stopped", 9), ("t", "a", 0, None, 0)]
    for number in range(1000):  # however many segments come in between
        second.begin_world("s", f"segment {number}")
    assert second.begin_world("s", "a") == 1


def test_frames_of_a_segment_that_is_over_are_late_also_for_the_next_worker(tmp_path: Path) -> None:
    database = StateDatabase(tmp_path / DATABASE)
    database.begin_world("s", "a")
    assert not database.is_late(key(1))
    database.close_segment("s", "a", 5)
    database.close()
    database = StateDatabase(tmp_path / DATABASE)
    assert database.is_late(key(5)) and not database.is_late(key(6))
    assert not database.is_late(FrameKey("s", "b", 1))


def test_a_frame_that_kills_the_worker_is_tried_alone_and_then_given_up(tmp_path: Path) -> None:
    guilty, innocent = key(1), key(2)

    def begin() -> Suspects:
        return Suspects(StateDatabase(tmp_path / DATABASE), 3)  # the one before was killed: nothing was closed

    suspects = begin()
    suspects.take(guilty)
    suspects.take(innocent)
    suspects = begin()
    assert suspects.must_be_alone(guilty) and suspects.must_be_alone(innocent)
    suspects.take(innocent)
    suspects.release([innocent])
    suspects.take(guilty)
    suspects = begin()
    assert not suspects.must_be_alone(innocent)
    assert suspects.must_be_alone(guilty) and not suspects.is_given_up(guilty)
    suspects.take(guilty)
    suspects.close()  # an orderly end is nobody's fault
    suspects = begin()
    assert not suspects.is_given_up(guilty)
    suspects.take(guilty)
    suspects = begin()
    assert suspects.is_given_up(guilty)
    assert not suspects.is_given_up(guilty), "the next frame with this key is another one"


SAVED = StreamState("../s", "a", 2, frames=7, newest=9, pending=[Pending(FrameKey("../s", "a", 9))])


def write_text(path: Path) -> None:
    path.write_text("the map")


def test_a_checkpoint_belongs_to_one_world_and_the_folder_to_one_worker(tmp_path: Path) -> None:
    first = StateFolder(tmp_path)
    with pytest.raises(InputError, match="another worker"):
        StateFolder(tmp_path)
    assert first.checkpoint_of("../s", "a", 2) is None
    assert first.save(SAVED, write_text)
    first.close()
    second = StateFolder(tmp_path)
    saved, path = second.checkpoint_of("../s", "a", 2)  # type: ignore[misc]
    assert saved == SAVED and path.read_text() == "the map"
    assert second.checkpoint_of("../s", "a", 3) is None
    second.forget("../s")
    assert second.checkpoint_of("../s", "a", 2) is None
    second.close()


def test_a_worker_is_told_from_others_by_its_state_and_not_by_where_that_is(tmp_path: Path) -> None:
    """Two machines may call their folders the same, and write segments to one; without a folder nobody is alike."""
    names = []
    for folder in (tmp_path / "a", tmp_path / "b", tmp_path / "a", None, None):
        state = StateFolder(folder)
        names.append(state.worker)
        state.close()
    assert names[0] == names[2] and len(set(names)) == 4
    (tmp_path / "a").rename(tmp_path / "moved")
    state = StateFolder(tmp_path / "moved")
    assert state.worker == names[0]
    state.close()


def test_what_a_killed_worker_was_writing_is_tidied_up(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(SAVED, write_text)
    folder.close()
    (place,) = tmp_path.glob("stream-*")
    place.rename(tmp_path / f".{place.name}.0123456789ab.old")  # it died between the two moves
    (tmp_path / f".{place.name}.ba9876543210.tmp").mkdir()
    folder = StateFolder(tmp_path)
    assert folder.checkpoint_of("../s", "a", 2) is not None
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".tmp", ".old")]
    folder.close()


@pytest.mark.parametrize("damage", ["{", "[" * 100_000, '{"part": Infinity}', "[]", "\x00"])
def test_a_damaged_checkpoint_costs_its_world_and_no_more(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = StateFolder(tmp_path)
    folder.database.begin_world("../s", "a")
    folder.save(SAVED, write_text)
    (sidecar,) = tmp_path.glob("stream-*/stream.json")
    text = sidecar.read_text().replace('"part": 2', '"part": Infinity') if "Infinity" in damage else damage
    sidecar.write_text(text)
    (ended,) = Streams(random_sessions(), folder, 1).restore()
    assert (ended.part, ended.reason) == (0, "recovered")  # type: ignore[union-attr]
    assert "stream.json cannot be used" in caplog.text
    folder.close()
