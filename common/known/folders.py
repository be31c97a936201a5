"""Files that belong to pictures by their names: depths, masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from common.data.sources.frame_source import Frame
from common.errors import InputError
from common.paths import user_path

_KIND = re.compile(r"[._-]?(colou?r|rgb|image|img|depth|mask|seg|proj|aligned)$", re.IGNORECASE)
_TIME = re.compile(r"\d+\.\d{3,}$")
_APART = 0.02
"""Seconds between a picture and the depth that counts as its own, at most."""


class FilesByName:
    """Files of a folder, one for a picture: ``0007.jpg`` has ``0007.png`` or ``0007.mask.png``.

    Pictures named by their time (TUM RGB-D) take the nearest within 20 ms, and frames of a video the file that has
    their number as its name.

    Args:
        folder: to look in, not inside its folders.
        suffixes: endings of the files, lower case.
        kind: what the files are, for messages.

    Raises:
        InputError: no such folder, or no such file in it.
    """

    def __init__(self, folder: str | Path, suffixes: Sequence[str], kind: str) -> None:
        self.folder, self.kind = user_path(folder), kind
        if not self.folder.is_dir():
            raise InputError(f"{kind}={folder}: no such folder")
        self._files = sorted(path for path in self.folder.iterdir() if path.suffix.lower() in suffixes)
        if not self._files:
            raise InputError(f"{kind}={folder}: no file in it ends in {' '.join(suffixes)}")

    def find(self, frame: Frame) -> Path | None:
        """The file of a picture; None if there is none."""
        if frame.path is None:
            return self._by_number.get(frame.index)
        return self.of_name(frame.name)

    def of_name(self, name: str) -> Path | None:
        """The file of an image file of this name; None if there is none."""
        stem = PurePosixPath(name).stem
        found = self._by_stem.get(stem) or self._by_bare_stem.get(_bare(stem))
        if found is None and _TIME.match(stem) and len(self._times):
            nearest = int(np.abs(self._times - float(stem)).argmin())
            found = self._timed[nearest] if abs(self._times[nearest] - float(stem)) <= _APART else None
        return found

    def require_any(self, names: Sequence[str]) -> None:
        """Raise an InputError where none of the named pictures has a file."""
        if names and not any(self.of_name(name) for name in names):
            raise InputError(
                f"{self.kind}={self.folder}: no file for any picture; they are called like "
                f"{PurePosixPath(names[0]).name}, the files like {self._files[0].name}"
            )

    @cached_property
    def _by_stem(self) -> dict[str, Path]:
        return {path.stem: path for path in self._files}

    @cached_property
    def _by_bare_stem(self) -> dict[str, Path]:
        return {_bare(path.stem): path for path in self._files}

    @cached_property
    def _by_number(self) -> dict[int, Path]:
        return {int(bare): path for bare, path in self._by_bare_stem.items() if bare.isascii() and bare.isdigit()}

    @cached_property
    def _timed(self) -> list[Path]:
        return [path for path in self._files if _TIME.match(path.stem)]

    @cached_property
    def _times(self) -> np.ndarray:
        return np.array([float(path.stem) for path in self._timed])


def _bare(stem: str) -> str:
    """A name without words that say what the file is: frame-07.color and frame-07.depth.proj are one frame."""
    while (shorter := _KIND.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem
