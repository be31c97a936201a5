"""Pictures named in a text file, with times of their own where it states them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.data.sources.frame_source import SourceError
from common.data.sources.image_files import ImageFileSource
from common.paths import user_path


class ListSource(ImageFileSource):
    """The images named in a text file, one per line, in its order. Empty lines and lines that begin with # are ignored.

    Args:
        path: the list; names in it are relative to its folder, or absolute.
        timestamps: lines are "seconds name", as in the ``rgb.txt`` of TUM RGB-D, instead of the name alone.
        every, fps, on_bad_image, min_frames: as for `ImageFileSource`.

    Raises:
        SourceError: the list does not exist, is not text, names too few images, or has times that do not increase.
    """

    def __init__(
        self,
        path: str | Path,
        timestamps: bool = False,
        every: int = 1,
        fps: float = 30.0,
        on_bad_image: str = "error",
        min_frames: int = 2,
    ):
        file = user_path(path)
        if file.exists() and not file.is_file():
            raise SourceError(f"image list {file} cannot be read as text: it is a folder, a pipe or a device")
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"image list {file} cannot be read as text: {error}") from error
        names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        seconds = None
        if timestamps:
            seconds, names = _split_times(names, file)
        files = [(name, file.parent / name) for name in names]
        super().__init__(files, f"image list {file}", every, fps, on_bad_image, min_frames, seconds)


def _split_times(lines: Sequence[str], file: Path) -> tuple[list[float], list[str]]:
    """Times and names of lines "seconds name"; raises SourceError where a time is missing or does not increase."""
    seconds: list[float] = []
    names: list[str] = []
    for line in lines:
        first, _, name = line.replace("\t", " ").partition(" ")
        try:
            time = float(first)
        except ValueError:
            raise SourceError(f'image list {file}: expected "seconds name", got "{line}"') from None
        if not name.strip() or (seconds and not time > seconds[-1]):
            raise SourceError(f'image list {file}: no name, or a time that does not increase, in "{line}"')
        seconds.append(time)
        names.append(name.strip())
    return seconds, names
