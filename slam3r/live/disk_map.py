"""Crash-safe map on disk for endless sessions: points are appended, and read through memory maps.

A folder holds ``map.json`` (what it is), ``points_000000.bin`` and so on (records, a fixed number per file) and
``journal.bin`` (which of them are valid). A commit writes records, brings them to the disk, and only then adds its line
to the journal; whatever a crash or a full disk leaves behind beyond the last good line is cut off when the map is
opened again. Files are written, not mapped for writing: on a full disk a write is an error that can be handled, a
store into a mapped page kills the process.

Memory does not grow with the map: its index is the journal itself.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.files import read_json, write_json

RECORD = np.dtype([("point", "<f4", 3), ("color", "u1", 3), ("pad", "u1"), ("confidence", "<f4"), ("frame", "<i4")])
"""One point: world position, RGB, confidence, frame."""
_ENTRY = np.dtype(
    [("kind", "<u4"), ("data_crc", "<u4"), ("frame", "<i8"), ("start", "<i8"), ("count", "<i8"), ("crc", "<u4")]
)
_POINTS, _REMOVAL = 1, 2
VERSION = 1


class DiskMapError(InputError):
    """A folder is not such a map, or one of another version."""


class DiskMap:
    """Appends points of frames; a context manager that commits at its end. One writer at a time.

    Frames are committed in groups of `commit_every`: a crash loses at most so many, and never half of one.
    """

    def __init__(self, folder: str | Path, chunk_points: int = 1_000_000, commit_every: int = 30) -> None:
        """Open or create a map.

        Args:
            folder: created if needed; an existing map is continued.
            chunk_points: points in a file; an existing map keeps its own.
            commit_every: frames in a commit.

        Raises:
            DiskMapError: the folder holds something else.
            ValueError: a number below 1.
        """
        if chunk_points < 1 or commit_every < 1:
            raise ValueError(f"chunk_points and commit_every are at least 1, got {chunk_points} and {commit_every}")
        self.folder, self.commit_every = Path(folder), commit_every
        self.chunk_points = self._open_folder(chunk_points)
        self.num_points = 0
        """Committed points, including those of removed frames."""
        self.num_cut = 0
        """Journal entries that a crash had left unfinished."""
        self._pending: list[tuple[int, NDArray]] = []
        self._recover()

    def append(self, points: NDArray, colors: NDArray, confidence: NDArray, frame: int) -> None:
        """Take the points (N, 3), colours (N, 3) uint8 and confidences (N,) of a frame.

        Raises:
            OSError: the disk is full or gone. What was committed stays; what was not is kept and tried again with the
                next commit.
        """
        records = np.zeros(len(points), RECORD)
        records["point"], records["color"], records["confidence"] = points, colors, confidence
        records["frame"] = frame
        self._pending.append((frame, records))
        if len(self._pending) >= self.commit_every:
            self.commit()

    def commit(self) -> None:
        """Write everything pending to the disk. Raises OSError as `append` does."""
        if not self._pending:
            return
        entries = np.zeros(len(self._pending), _ENTRY)
        start = self.num_points
        for entry, (frame, records) in zip(entries, self._pending, strict=True):
            entry["kind"], entry["frame"], entry["start"], entry["count"] = _POINTS, frame, start, len(records)
            entry["data_crc"] = zlib.crc32(records.tobytes())
            start += len(records)
        self._write_records(np.concatenate([records for _, records in self._pending]))
        self._write_entries(entries)
        self.num_points = start
        self._pending = []

    def remove(self, frame: int) -> None:
        """Remove a frame: its points no longer count, but keep their space on the disk. Commits."""
        self.commit()
        entry = np.zeros(1, _ENTRY)
        entry["kind"], entry["frame"], entry["start"] = _REMOVAL, frame, self.num_points
        self._write_entries(entry)

    def remove_from(self, frame: int) -> None:
        """Remove all frames of this number and above: a session goes back to where it was."""
        self.commit()
        for number in sorted({number for number, _ in self.frames() if number >= frame}):
            self.remove(number)

    def frames(self) -> Iterator[tuple[int, NDArray]]:
        """Committed frames that were not removed, with their records, in order; records are read from disk on use."""
        entries = self._read_entries()
        is_removal = entries["kind"] == _REMOVAL
        # A removal concerns what came before it: a frame of the same number may be added again.
        removed = {int(entries["frame"][position]): position for position in np.flatnonzero(is_removal)}
        for position in np.flatnonzero(~is_removal):
            entry = entries[position]
            if removed.get(int(entry["frame"]), -1) > position:
                continue
            yield int(entry["frame"]), self._records(int(entry["start"]), int(entry["count"]))

    def close(self) -> None:
        """Commit what is pending."""
        self.commit()

    def __enter__(self) -> DiskMap:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open_folder(self, chunk_points: int) -> int:
        about = self.folder / "map.json"
        if not about.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise DiskMapError(f"{self.folder} is not empty and holds no map.json; choose another folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(about, {"version": VERSION, "chunk_points": chunk_points, "record": RECORD.itemsize})
            return chunk_points
        try:
            values = read_json(about)
            version, own, size = values["version"], int(values["chunk_points"]), values["record"]
        except (ValueError, KeyError, TypeError) as error:
            raise DiskMapError(f"{about} does not describe a map: {error!r}") from error
        if version != VERSION or size != RECORD.itemsize or own < 1:
            raise DiskMapError(f"{about}: version {version}, this program reads {VERSION}")
        return own

    def _recover(self) -> None:
        """Truncate the files to what intact journal entries cover."""
        path = self.folder / "journal.bin"
        path.touch()
        raw = np.fromfile(path, np.uint8)
        whole = len(raw) // _ENTRY.itemsize
        entries = raw[: whole * _ENTRY.itemsize].view(_ENTRY)
        good, total = 0, 0
        for entry in entries:
            if int(entry["crc"]) != _entry_crc(entry) or int(entry["start"]) != total:
                break
            good, total = good + 1, total + int(entry["count"])
        # Records reach the disk before their entry; the last commit is checked too, for disks that reorder writes.
        while good and not self._is_whole(entries[good - 1]):
            good -= 1
            total = int(entries[good]["start"])
        self.num_cut = len(entries) - good + (len(raw) > whole * _ENTRY.itemsize)
        if good * _ENTRY.itemsize != len(raw):
            os.truncate(path, good * _ENTRY.itemsize)
        self.num_points = total
        for number, chunk in ((int(file.stem[-6:]), file) for file in self.folder.glob("points_*.bin")):
            wanted = min(max(total - number * self.chunk_points, 0), self.chunk_points) * RECORD.itemsize
            if chunk.stat().st_size > wanted:
                os.truncate(chunk, wanted)

    def _is_whole(self, entry: NDArray) -> bool:
        if entry["kind"] != _POINTS:
            return True
        try:
            records = self._records(int(entry["start"]), int(entry["count"]))
        except (OSError, ValueError):
            return False
        return zlib.crc32(records.tobytes()) == int(entry["data_crc"])

    def _read_entries(self) -> NDArray:
        return np.fromfile(self.folder / "journal.bin", _ENTRY)

    def _records(self, start: int, count: int) -> NDArray:
        """Committed records; a view of the file where they do not cross from one into the next."""
        parts = []
        for number, first, size in self._spans(start, count):
            file = np.memmap(self._chunk(number), RECORD, "r", offset=first * RECORD.itemsize, shape=(size,))
            parts.append(file)
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, RECORD), *parts])

    def _write_records(self, records: NDArray) -> None:
        done = 0
        for number, first, size in self._spans(self.num_points, len(records)):
            is_there = self._chunk(number).exists()
            with open(self._chunk(number), "r+b" if is_there else "w+b") as file:
                file.seek(first * RECORD.itemsize)
                file.write(records[done : done + size].tobytes())
                file.flush()
                os.fsync(file.fileno())
            if not is_there:
                self._flush_folder()
            done += size

    def _write_entries(self, entries: NDArray) -> None:
        path = self.folder / "journal.bin"
        length = path.stat().st_size
        for entry in entries:
            entry["crc"] = _entry_crc(entry)
        try:
            with open(path, "ab") as file:
                file.write(entries.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            os.truncate(path, length)  # a partial line would hide all later ones
            raise

    def _flush_folder(self) -> None:
        """Sync the folder: a new file's name must be on the disk before the journal refers to it."""
        if os.name == "nt":  # Windows cannot open folders
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _spans(self, start: int, count: int) -> Iterator[tuple[int, int, int]]:
        """(file, first record in it, records) that make up a range."""
        while count > 0:
            number, first = divmod(start, self.chunk_points)
            size = min(count, self.chunk_points - first)
            yield number, first, size
            start, count = start + size, count - size

    def _chunk(self, number: int) -> Path:
        return self.folder / f"points_{number:06d}.bin"


def _entry_crc(entry: NDArray) -> int:
    return zlib.crc32(entry.tobytes()[: -_ENTRY["crc"].itemsize])
