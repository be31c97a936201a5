"""State that a worker leaves to its successor, in one SQLite file: finished frames, worlds, and their numbers.

Every change is a transaction. It survives the death of the process; when the machine dies, the last moments may be
missing, but what is there is consistent (write-ahead log, synchronous=NORMAL).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from slam3r.service.frame_key import FrameKey

logger = logging.getLogger(__name__)

VERSION = 1
_THIS_WORLD = "stream_id = ? AND segment = ? AND part = ?"
_TABLES = f"""
PRAGMA user_version = {VERSION};
CREATE TABLE IF NOT EXISTS done (
    number INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT NOT NULL, segment TEXT NOT NULL,
    timestamp_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS segments (
    stream_id TEXT NOT NULL, segment TEXT NOT NULL, next_part INTEGER NOT NULL, newest INTEGER,
    PRIMARY KEY (stream_id, segment));
CREATE TABLE IF NOT EXISTS worlds (
    number INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT NOT NULL, segment TEXT NOT NULL, part INTEGER NOT NULL,
    frames INTEGER NOT NULL DEFAULT 0, reason TEXT, UNIQUE (stream_id, segment, part));
CREATE TABLE IF NOT EXISTS in_hand (
    stream_id TEXT NOT NULL, segment TEXT NOT NULL, timestamp_ns INTEGER NOT NULL, deaths INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (stream_id, segment, timestamp_ns));
"""


@dataclass(frozen=True)
class World:
    """A world that was begun and whose end was not told yet."""

    stream_id: str
    segment: str
    part: int
    frames: int
    reason: str | None
    """Reason of its end; None while it is open."""


class StateDatabase:
    """The state of one worker. May be used from any thread. A path of None keeps everything in memory.

    A full disk does not stop the stream: what cannot be written is reported once, and lost with the process.
    """

    def __init__(self, path: Path | None) -> None:
        """
        Raises:
            InputError: the file was written by a newer version.
        """
        self._lock = threading.RLock()
        self._failed = False
        """Whether the last change was not written."""
        self._unwritten: dict[tuple[str, str], int] = {}
        """Part numbers that were given out and could not be written."""
        try:
            self._connection = self._open(path)
        except sqlite3.OperationalError as error:
            raise InputError(f"segments.state: {path} cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            assert path is not None, "a database in memory is never damaged"
            aside = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}")
            logger.error("%s is damaged (%s): it is moved to %s, and a new one begins", path, error, aside.name)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.replace(aside)
            self._connection = self._open(path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def done_frames(self, limit: int) -> list[FrameKey]:
        """Return the newest frames that are done, oldest first."""
        query = "SELECT stream_id, segment, timestamp_ns FROM done ORDER BY number DESC LIMIT ?"
        with self._lock:
            rows = self._connection.execute(query, (limit,)).fetchall()
        return [FrameKey(*row) for row in reversed(rows)]

    def add_done(self, keys: Sequence[FrameKey], limit: int) -> None:
        """Write down frames that are done; no more than the newest `limit` are kept."""
        self._write(
            ("INSERT INTO done (stream_id, segment, timestamp_ns) VALUES (?, ?, ?)", _rows(keys)),
            ("DELETE FROM done WHERE number <= (SELECT max(number) FROM done) - ?", [(limit,)]),
        )

    def begin_world(self, stream_id: str, segment: str) -> int:
        """Begin a world; returns its part number, which no world of this stream and segment ever had."""
        name = (stream_id, segment)
        with self._lock:
            row = self._connection.execute(
                "SELECT next_part FROM segments WHERE stream_id = ? AND segment = ?", name
            ).fetchone()
            part = self._unwritten[name] = max(row[0] if row else 0, self._unwritten.get(name, -1) + 1)
            self._write(
                (
                    "INSERT INTO segments (stream_id, segment, next_part) VALUES (?, ?, ?) "
                    "ON CONFLICT (stream_id, segment) DO UPDATE SET next_part = excluded.next_part",
                    [(*name, part + 1)],
                ),
                ("INSERT INTO worlds (stream_id, segment, part) VALUES (?, ?, ?)", [(*name, part)]),
            )
            if not self._failed:
                del self._unwritten[name]
        return part

    def count_frames(self, stream_id: str, segment: str, part: int, frames: int) -> None:
        """Write down how many frames of an open world have results."""
        update = f"UPDATE worlds SET frames = ? WHERE {_THIS_WORLD}"
        self._write((update, [(frames, stream_id, segment, part)]))

    def end_world(self, stream_id: str, segment: str, part: int, reason: str, frames: int) -> None:
        """A world has ended; its end is still to be told."""
        update = f"UPDATE worlds SET reason = ?, frames = ? WHERE {_THIS_WORLD}"
        self._write((update, [(reason, frames, stream_id, segment, part)]))

    def forget_world(self, stream_id: str, segment: str, part: int) -> None:
        """The end of a world was told."""
        self._write((f"DELETE FROM worlds WHERE {_THIS_WORLD}", [(stream_id, segment, part)]))

    def worlds(self) -> list[World]:
        """Return the worlds that earlier workers have left, in the order of their beginnings."""
        query = "SELECT stream_id, segment, part, frames, reason FROM worlds ORDER BY number"
        with self._lock:
            return [World(*row) for row in self._connection.execute(query).fetchall()]

    def close_segment(self, stream_id: str, segment: str, newest: int) -> None:
        """A segment is over: its frames up to the timestamp `newest` (ns) are late from now on."""
        update = "UPDATE segments SET newest = ? WHERE stream_id = ? AND segment = ?"
        self._write((update, [(newest, stream_id, segment)]))

    def is_late(self, key: FrameKey) -> bool:
        """Whether a frame belongs to a segment that is over; one with newer frames than it had is a new beginning."""
        query = "SELECT newest FROM segments WHERE stream_id = ? AND segment = ?"
        with self._lock:
            row = self._connection.execute(query, (key.stream_id, key.segment)).fetchone()
        return row is not None and row[0] is not None and key.timestamp_ns <= row[0]

    def hold(self, keys: Sequence[FrameKey]) -> None:
        """These frames are in the worker's hands now, and no others: should it die, one of them may be why."""
        self._write(
            ("DELETE FROM in_hand WHERE deaths = 0", [()]),
            ("UPDATE in_hand SET held = 0", [()]),
            (
                "INSERT INTO in_hand (stream_id, segment, timestamp_ns) VALUES (?, ?, ?) "
                "ON CONFLICT (stream_id, segment, timestamp_ns) DO UPDATE SET held = 1",
                _rows(keys),
            ),
        )

    def count_deaths(self) -> dict[FrameKey, int]:
        """Call once at the start: charges the frames that the worker before died with, and returns all that were ever
        charged, each with the number of deaths."""
        self._write(("UPDATE in_hand SET deaths = deaths + 1, held = 0 WHERE held = 1", [()]))
        query = "SELECT stream_id, segment, timestamp_ns, deaths FROM in_hand WHERE deaths > 0"
        with self._lock:
            return {FrameKey(*row[:3]): row[3] for row in self._connection.execute(query).fetchall()}

    def acquit(self, keys: Sequence[FrameKey]) -> None:
        """Frames that the worker has survived."""
        self._write(("DELETE FROM in_hand WHERE stream_id = ? AND segment = ? AND timestamp_ns = ?", _rows(keys)))

    @staticmethod
    def _open(path: Path | None) -> sqlite3.Connection:
        connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise InputError(f"segments.state: {path} was written by a newer version of this program")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (sound,) = connection.execute("PRAGMA quick_check").fetchone()
            if sound != "ok":
                raise sqlite3.DatabaseError(sound)
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    def _write(self, *statements: tuple[str, Sequence[tuple]]) -> None:
        """Run statements, each with its rows of parameters, in one transaction. A full disk is reported, and the change
        is left out."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                for statement, rows in statements:
                    self._connection.executemany(statement, rows)
                self._connection.execute("COMMIT")
                self._failed = False
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):  # there is none to undo if it could not be begun
                    self._connection.execute("ROLLBACK")
                if not self._failed:
                    logger.error("the state was not written: %s", error)
                self._failed = True


def _rows(keys: Sequence[FrameKey]) -> list[tuple[str, str, int]]:
    return [(key.stream_id, key.segment, key.timestamp_ns) for key in keys]
