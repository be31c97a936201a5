"""Frames and the sources that hand them out, whatever they are read from.

Constructors and `FrameSource.validate` find what is wrong with the input before any long work starts.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data.sources.cropping import crop_warning
from common.errors import InputError

logger = logging.getLogger(__name__)


class SourceError(InputError):
    """A source has nothing usable: no folder, no images, too few frames. The message says what was looked for."""


@dataclass
class Frame:
    """One picture of the input."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB, upright. Frames of one source may differ in size."""
    index: int
    """Number of the file or video frame in the whole input, from 0; frames that were not wanted or skipped count."""
    timestamp: float
    """Seconds from the start of the input, strictly increasing; a list of files may state other times."""
    name: str
    """File name; for videos and cameras their name with the frame number."""
    path: Path | None = None
    """The file, where the frame is a file of its own."""


class FrameSource(ABC):
    """An iterable of `Frame`, also a context manager that closes itself.

    Attributes:
        skipped: (path or frame name, reason) of everything that could not be read and was left out.
        notes: what else the user should know of the input, a sentence each.
        ended: how a live source ended; None for files, and before the end.
    """

    def __init__(self) -> None:
        self.skipped: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self._crop_was_noted = False
        self.ended: str | None = None

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The frames in order. Raises `InputError` at the end if there were too few, or at a bad image if so asked."""

    @property
    def length(self) -> int | None:
        """Number of frames: exact for images if all can be read, an estimate for videos, None if nobody knows."""
        return None

    @property
    def files_are_plain(self) -> bool:
        """Whether every frame is a file in which other programs see the same pixels; see `is_plain_file`."""
        return False

    @property
    def folders(self) -> set[Path]:
        """Folders that pictures are read from, where results would become input."""
        return set()

    def validate(self) -> None:  # noqa: B027 (a source may have nothing to check)
        """Check the input without decoding all of it; raises `InputError`. To be called before long work."""

    def note_crop(self, original: tuple[int, int], size: tuple[int, int]) -> None:
        """Tell the user, at the first picture that loses much, what the crop to network images of `size` costs."""
        if not self._crop_was_noted and (warning := crop_warning(original, size)) is not None:
            self._crop_was_noted = True
            self.note(warning)

    def note(self, sentence: str) -> None:
        """Tell the user something, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            logger.warning("%s", sentence)

    def close(self) -> None:  # noqa: B027
        """Let go of files and devices. May be called twice."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
