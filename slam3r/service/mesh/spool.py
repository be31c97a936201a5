"""The keyframes of one world in a file: what a mesh process is given, at once or later, and again should it die."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Spool:
    """Keeps an even choice of all keyframes, at most `limit` of them, in a file of fixed-size records."""

    def __init__(self, path: Path, record: np.dtype, limit: int) -> None:
        """
        Args:
            path: of the file, which is made with the first keyframe.
            record: dtype of a keyframe, of `slot_type`.
            limit: keyframes kept; when there are more, every second one goes.
        """
        self._path, self._record, self._limit = path, record, limit
        self._kept: list[tuple[int, int]] = []
        self._free = list(range(limit, -1, -1))
        self._every, self._seen = 1, 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, timestamp_ns: int, keyframe: NDArray[Any]) -> None:
        """Keep a keyframe, or not, for an even choice.

        Raises:
            OSError: the disk is full; the keyframe is not kept.
        """
        self._seen += 1
        if (self._seen - 1) % self._every:
            return
        place = self._free[-1]
        with open(self._path, "r+b" if self._path.exists() else "w+b") as file:
            file.seek(place * self._record.itemsize)
            file.write(keyframe.tobytes())
        self._free.pop()
        self._kept.append((timestamp_ns, place))
        if len(self._kept) > self._limit:
            self._free += [place for _, place in self._kept[1::2]]
            self._kept, self._every = self._kept[::2], 2 * self._every

    def read(self) -> list[tuple[int, int]]:
        """Return (timestamp, place in the file) of the keyframes kept, in order."""
        return list(self._kept)

    def load(self, place: int) -> NDArray[Any]:
        """Read a keyframe.

        Raises:
            OSError: the file is gone.
        """
        with open(self._path, "rb") as file:
            file.seek(place * self._record.itemsize)
            return np.frombuffer(file.read(self._record.itemsize), self._record)[0]

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
        self._kept.clear()
