"""The state folder of a worker: the database, and checkpoints of the sessions of open worlds."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from common.errors import InputError
from common.files import atomic_folder, atomic_write, read_json, write_json
from slam3r.service.frame_key import FrameKey
from slam3r.service.state.database import StateDatabase

logger = logging.getLogger(__name__)

DATABASE = "service.sqlite"
_SIDECAR, _SESSION = "stream.json", "session.safetensors"
_WORKER = "worker"
_LEFT_BEHIND = re.compile(r"\.(?P<name>stream-[0-9a-f]{16})\.[0-9a-f]+\.(?P<kind>tmp|old)")
"""Folders that `atomic_folder` makes; they stay when the worker dies meanwhile."""
_DAMAGED = (ValueError, KeyError, TypeError, OSError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Pending:
    """A frame inside a session."""

    key: FrameKey
    received: float | None = None
    """`time.monotonic` when it came; None for a frame that an earlier worker received."""


@dataclass(frozen=True)
class StreamState:
    """Progress of a stream; stored beside its session's checkpoint."""

    stream_id: str
    segment: str
    part: int
    session_world: int = 0
    """Number of the world in the session."""
    frames: int = 0
    newest: int = 0
    pending: list[Pending] = field(default_factory=list)


class StateFolder:
    """The state folder of one worker; a lock keeps others out. A folder of None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        """
        Raises:
            InputError: another worker uses the folder, or it cannot be written.
        """
        self.folder = folder
        self._lock: IO[str] | None = None
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = open(folder / ".lock", "w")  # noqa: SIM115 (held until `close`)
                _lock(self._lock)
            except BlockingIOError:
                raise InputError(f"segments.state: another worker uses {folder}; give each worker its own") from None
            except OSError as error:
                raise InputError(f"segments.state: cannot write to {folder}: {error.strerror}") from None
            _tidy(folder)
        self.worker = _name_of_worker(folder)
        """Tells this worker from all others, also on other machines; its successor has the same."""
        self.database = StateDatabase(None if folder is None else folder / DATABASE)

    def save(self, stream: StreamState, write_session: Callable[[Path], None]) -> bool:
        """Write a checkpoint; False where it could not be written (the disk is full): the last one stays then."""
        if self.folder is None:
            return False
        try:
            with atomic_folder(self._place(stream.stream_id)) as folder:
                write_session(folder / _SESSION)
                write_json(folder / _SIDECAR, _to_json(stream))
            return True
        except Exception as error:  # safetensors has an exception of its own for a full disk
            logger.error("the checkpoint of stream %s was not written: %s", stream.stream_id, error)
            return False

    def forget(self, stream_id: str) -> None:
        """Remove the stream's checkpoint: its world is over."""
        if self.folder is not None:
            shutil.rmtree(self._place(stream_id), ignore_errors=True)

    def checkpoint_of(self, stream_id: str, segment: str, part: int) -> tuple[StreamState, Path] | None:
        """Return the checkpoint of a world; None where there is none, or a damaged one, which is reported."""
        if self.folder is None or not (self._place(stream_id) / _SIDECAR).exists():
            return None
        path = self._place(stream_id) / _SIDECAR
        try:
            stream = _from_json(read_json(path))
        except _DAMAGED as error:
            logger.error("%s cannot be used: %s", path, str(error)[:200] or type(error).__name__)
            return None
        is_same = (stream.stream_id, stream.segment, stream.part) == (stream_id, segment, part)
        return (stream, path.with_name(_SESSION)) if is_same else None

    def close(self) -> None:
        """Let the next worker in."""
        self.database.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _place(self, stream_id: str) -> Path:
        assert self.folder is not None
        return self.folder / f"stream-{hashlib.sha256(stream_id.encode()).hexdigest()[:16]}"


def _name_of_worker(folder: Path | None) -> str:
    """A random name, kept in the folder if there is one."""
    name = uuid.uuid4().hex[:16]
    if folder is None:
        return name
    file = folder / _WORKER
    try:
        kept = file.read_text() if file.exists() else ""
        if re.fullmatch("[0-9a-f]{16}", kept):
            return kept
        with atomic_write(file, "w") as new:
            new.write(name)
    except (OSError, ValueError, InputError) as error:
        logger.error("%s cannot be used; what this worker leaves will not be found by the next: %s", file, error)
    return name


def _tidy(folder: Path) -> None:
    """Remove what a worker left behind that died while it wrote a checkpoint; bring back the checkpoint before."""
    for path in folder.iterdir():
        match = _LEFT_BEHIND.fullmatch(path.name)
        if match and match["kind"] == "old" and not (folder / match["name"]).exists():
            os.replace(path, folder / match["name"])
        elif match:
            shutil.rmtree(path, ignore_errors=True)


def _to_json(stream: StreamState) -> dict[str, Any]:
    return {**vars(stream), "pending": [held.key.timestamp_ns for held in stream.pending]}


def _from_json(value: dict[str, Any]) -> StreamState:
    stream, segment = str(value["stream_id"]), str(value["segment"])
    pending = [Pending(FrameKey(stream, segment, int(timestamp))) for timestamp in value["pending"]]
    numbers = {name: int(value[name]) for name in ("part", "session_world", "frames", "newest")}
    return StreamState(stream, segment, pending=pending, **numbers)


def _lock(file: IO[str]) -> None:
    with suppress(ImportError):  # Windows: two workers on one folder go unnoticed there
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
