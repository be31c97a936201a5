"""What a worker leaves for its successor: which worlds there were, and, where sessions can, checkpoints of them."""

from __future__ import annotations

import hashlib
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from common.errors import InputError
from common.files import atomic_folder, read_json, write_json
from slam3r.service.frames import FrameKey
from slam3r.service.sessions import Session

logger = logging.getLogger(__name__)

_SIDECAR, _SESSION = "stream.json", "session.safetensors"


@dataclass(frozen=True)
class Pending:
    """A frame inside a session."""

    key: FrameKey
    received: float | None = None
    """`time.monotonic`; None for a frame that an earlier worker received."""


@dataclass(frozen=True)
class StreamState:
    """Where a stream stands."""

    stream_id: str
    segment: str
    part: int
    world: int = 0
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
        self._folder = folder
        self._lock: IO[str] | None = None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(folder / ".lock", "w")  # noqa: SIM115 (held until `close`)
            _lock(self._lock)
        except BlockingIOError:
            raise InputError(f"segments.state: another worker uses {folder}; give each worker its own") from None
        except OSError as error:
            raise InputError(f"segments.state: cannot write to {folder}: {error.strerror}") from None

    @property
    def journal(self) -> Path | None:
        """Of the ledger."""
        return None if self._folder is None else self._folder / "published.jsonl"

    def begin(self, stream: StreamState) -> None:
        """A world begins: checkpoints of the one before are void."""
        if self._folder is not None:
            self._replace(stream, None)

    def save(self, stream: StreamState, session: Session) -> bool:
        """Write a checkpoint; False where it could not be written (the disk is full): the last one stays then."""
        return self._folder is not None and self._replace(stream, session)

    def forget(self, stream_id: str) -> None:
        """The stream's world is over."""
        if self._folder is not None:
            shutil.rmtree(self._place(stream_id), ignore_errors=True)

    def streams(self) -> list[StreamState]:
        """All that was left here; what is damaged is reported and passed over."""
        found = []
        for path in sorted(self._folder.glob(f"stream-*/{_SIDECAR}")) if self._folder is not None else []:
            try:
                found.append(_from_json(read_json(path)))
            except (ValueError, KeyError, TypeError, OSError) as error:
                logger.error("%s cannot be used: %s", path, error)
        return found

    def checkpoint_of(self, stream_id: str) -> Path | None:
        """The session's checkpoint, where there is one."""
        path = self._place(stream_id) / _SESSION
        return path if path.exists() else None

    def close(self) -> None:
        """Let the next worker in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _replace(self, stream: StreamState, session: Session | None) -> bool:
        try:
            with atomic_folder(self._place(stream.stream_id)) as folder:
                if session is not None:
                    session.checkpoint(folder / _SESSION)
                write_json(folder / _SIDECAR, _to_json(stream))
            return True
        except Exception as error:  # safetensors has an exception of its own for a full disk
            logger.error("the state of stream %s was not written: %s", stream.stream_id, error)
            return False

    def _place(self, stream_id: str) -> Path:
        assert self._folder is not None
        return self._folder / f"stream-{hashlib.sha256(stream_id.encode()).hexdigest()[:16]}"


def _to_json(stream: StreamState) -> dict[str, Any]:
    return {**vars(stream), "pending": [held.key.timestamp_ns for held in stream.pending]}


def _from_json(value: dict[str, Any]) -> StreamState:
    stream, segment = str(value["stream_id"]), str(value["segment"])
    pending = [Pending(FrameKey(stream, segment, int(timestamp))) for timestamp in value["pending"]]
    numbers = {name: int(value[name]) for name in ("part", "world", "frames", "newest")}
    return StreamState(stream, segment, pending=pending, **numbers)


def _lock(file: IO[str]) -> None:
    with suppress(ImportError):  # Windows: two workers on one folder go unnoticed there
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
