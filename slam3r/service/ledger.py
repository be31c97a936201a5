"""Which frame was delivered, is being worked on, or is done: what acknowledgements are decided by.

A frame is *open* from its first delivery until its result is confirmed, then *done*. Frames that are done are written
to a journal before they are acknowledged, so a worker that is killed between the two recognises the redelivery.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from common.files import atomic_write
from slam3r.service.frames import Delivery, FrameKey

Offered = Literal["new", "open", "done"]


class Ledger:
    """Frames by key. Remembers the last ``limit`` that are done; the journal stays within twice that.

    The journal is not flushed to the disk with every frame: it survives the death of the process, not of the machine,
    after which at worst frames are published twice.
    """

    def __init__(self, limit: int, journal: Path | None = None) -> None:
        """
        Args:
            limit: frames that are done and remembered.
            journal: file of earlier workers and this one; None keeps nothing.
        """
        self._limit, self._path = limit, journal
        self._open: dict[FrameKey, list[Delivery]] = {}
        self._done: OrderedDict[FrameKey, None] = OrderedDict()
        self._lines = 0
        self._file: IO[str] | None = None
        if journal is not None:
            self._read(journal)
            self._rewrite()

    def offer(self, key: FrameKey, delivery: Delivery) -> Offered:
        """A delivery came. If the frame is open already, both deliveries will be acknowledged together."""
        if key in self._done:
            return "done"
        if key in self._open:
            self._open[key].append(delivery)
            return "open"
        self._open[key] = [delivery]
        return "new"

    def adopt(self, key: FrameKey) -> None:
        """A frame is open although its delivery is still to come: a restored session has it inside."""
        if key not in self._done:
            self._open.setdefault(key, [])

    def is_done(self, key: FrameKey) -> bool:
        """Whether its result was published."""
        return key in self._done

    async def complete(self, key: FrameKey, remember: bool = True) -> None:
        """Its result is confirmed, or it was dropped (then not remembered): acknowledge all its deliveries."""
        if remember:
            self._remember(key)
            self._write(key)
        for delivery in self._open.pop(key, []):
            # Of a connection that is gone: the broker delivers it again, and it will be found here.
            with suppress(Exception):
                await delivery.ack()

    @property
    def num_open(self) -> int:
        """Frames delivered and not done."""
        return len(self._open)

    def close(self) -> None:
        """Close the journal."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _remember(self, key: FrameKey) -> None:
        self._done[key] = None
        self._done.move_to_end(key)
        while len(self._done) > self._limit:
            self._done.popitem(last=False)

    def _read(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, TypeError):  # the last line of a killed worker may be cut short
                    stream, segment, timestamp = json.loads(line)
                    self._remember(FrameKey(str(stream), str(segment), int(timestamp)))

    def _write(self, key: FrameKey) -> None:
        if self._file is None:
            return
        try:
            self._file.write(_line(key))
            self._file.flush()  # to the system, which outlives this process
        except OSError:  # a full disk must not stop the stream: duplicates become possible, losses do not
            return
        self._lines += 1
        if self._lines > 2 * self._limit:
            with suppress(OSError):
                self._rewrite()

    def _rewrite(self) -> None:
        assert self._path is not None
        with atomic_write(self._path, "w") as file:
            file.writelines(_line(key) for key in self._done)
        self.close()
        self._file = open(self._path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 (closed by `close`)
        self._lines = len(self._done)
        os.utime(self._path)


def _line(key: FrameKey) -> str:
    return json.dumps([key.stream_id, key.segment, key.timestamp_ns]) + "\n"
