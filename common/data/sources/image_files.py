"""Sources of frames: a folder, a pattern or a list of image files (videos and cameras: `common.data.sources.video`).

Constructors and `validate` find what is wrong with the input before any long work starts.
"""

from __future__ import annotations

import glob
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data.sources.cropping import crop_warning
from common.data.sources.file_names import drop_twins, list_files, natural_key, select_names
from common.data.sources.images import (
    IMAGE_SUFFIXES,
    ImageReadError,
    check_image,
    is_plain_file,
    read_picture,
)
from common.data.sources.label_images import is_label_image
from common.errors import InputError
from common.paths import user_path

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


class ImageFileSource(FrameSource):
    """Image files in a given order; the base of `FolderSource`, `GlobSource` and `ListSource`.

    Args:
        files: (name to show, path) of each file.
        where: what was searched, for messages.
        every: take every n-th file.
        fps: files per second assumed for timestamps.
        on_bad_image: "error" raises at an unreadable file, "skip" records it in `skipped` and goes on.
        min_frames: raise if there are fewer readable frames; one image alone gives no reconstruction.
        timestamps: seconds of each file in place of those made up from `fps`.

    Raises:
        SourceError: fewer than `min_frames` files.
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        files: Sequence[tuple[str, Path]],
        where: str,
        every: int = 1,
        fps: float = 30.0,
        on_bad_image: str = "error",
        min_frames: int = 2,
        timestamps: Sequence[float] | None = None,
    ):
        super().__init__()
        if every < 1 or not fps > 0:
            raise ValueError(f"every must be 1 or more and fps positive, got {every} and {fps}")
        if on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image must be error or skip, got {on_bad_image!r}")
        self.where, self.min_frames, self.on_bad_image = where, min_frames, on_bad_image
        seconds = [number / fps for number in range(len(files))] if timestamps is None else timestamps
        self._files = [(number, seconds[number], *file) for number, file in enumerate(files)][::every]
        self._require(len(self._files), f"(every {every} of {len(files)}) " if every > 1 else "")

    @property
    def length(self) -> int:
        return len(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def names(self) -> list[str]:
        """Names of the frames, in order."""
        return [file[2] for file in self._files]

    @property
    def files_are_plain(self) -> bool:
        return all(is_plain_file(file[-1]) for file in self._files)

    @property
    def folders(self) -> set[Path]:
        return {file[-1].parent for file in self._files}

    def validate(self) -> None:
        """Check header and completeness of every file; with "skip", bad files leave the source here.

        Label images beside photographs leave it too, and `notes` says so.

        Raises:
            ImageReadError: a file is bad, and `on_bad_image` is "error".
            SourceError: fewer than `min_frames` good files.
        """
        self._files = [file for file in self._files if self._is_good(file[-1])]
        self._leave_out_labels()
        self._require(len(self._files), "readable ")

    def __iter__(self) -> Iterator[Frame]:
        count, odd = 0, Counter[str]()
        for index, seconds, name, path in self._files:
            try:
                picture = read_picture(path)
            except ImageReadError as error:
                self._skip(error)
                continue
            count += 1
            if picture.oddity is not None:
                odd[picture.oddity] += 1
                if odd[picture.oddity] == 1:
                    self.note(f"{name} {picture.oddity}")
            yield Frame(picture.pixels, index, seconds, name, path)
        for oddity, number in odd.items():
            if number > 1:
                self.note(f"{number} pictures are like the one that {oddity}")
        self._require(count, "readable ")

    def note_twins(self, twins: Sequence[tuple[str, str]]) -> None:
        """Say that some files show the same photograph as others."""
        if twins:
            first = f"{twins[0][0]} beside {twins[0][1]}"
            self.note(f"{len(twins)} photographs lie here twice and count once ({first})")

    def _leave_out_labels(self) -> None:
        labels = [file for file in self._files if is_label_image(file[-1])]
        photographs = [file for file in self._files if file not in labels]
        if labels and len(photographs) >= self.min_frames:
            self._files = photographs
            self.note(f"left out as label images, for few values or their names: {len(labels)} ({labels[0][2]})")

    def _is_good(self, path: Path) -> bool:
        try:
            check_image(path)
        except ImageReadError as error:
            self._skip(error)
            return False
        return True

    def _skip(self, error: ImageReadError) -> None:
        if self.on_bad_image == "error":
            raise error
        record = (str(error.path), error.reason)
        if record not in self.skipped:
            self.skipped.append(record)

    def _require(self, count: int, kind: str) -> None:
        if count < self.min_frames:
            skipped = f"; skipped {len(self.skipped)}, the first: {': '.join(self.skipped[0])}" if self.skipped else ""
            number = "only one image" if count == 1 else f"{count} images"
            raise SourceError(f"{self.where}: {number} {kind}but at least {self.min_frames} are needed{skipped}")


class FolderSource(ImageFileSource):
    """The images of a folder in the order of their numbers (see `common.data.sources.file_names.select_names`).

    Args:
        path: the folder.
        suffix: wanted ending of names such as ``.color.png``; None for all image files.
        exclude: leave out files whose name contains this; None for none.
        recursive: also look into folders inside.
        every, fps, on_bad_image, min_frames: as for `ImageFileSource`.

    Attributes:
        folder: the folder.

    Raises:
        SourceError: the folder does not exist, or has too few images of this kind.
    """

    def __init__(
        self,
        path: str | Path,
        suffix: str | None = None,
        exclude: str | None = "depth",
        recursive: bool = False,
        every: int = 1,
        fps: float = 30.0,
        on_bad_image: str = "error",
        min_frames: int = 2,
    ):
        folder = user_path(path)
        if not folder.exists():
            raise SourceError(f"folder {folder} does not exist")
        if not folder.is_dir():
            raise SourceError(f"{folder} is a file, not a folder; for a video use source=video, for a list source=list")
        try:
            everything = list_files(folder, recursive)
        except OSError as error:
            raise SourceError(f"folder {folder} cannot be listed: {error.strerror}") from error
        names, twins = drop_twins(select_names(everything, suffix, exclude))
        if not names:
            hint = "" if recursive else " (folders inside are searched with recursive=true)"
            raise SourceError(f"folder {folder}: {_nothing_found(everything, suffix, exclude)}{hint}")
        self.folder = folder
        super().__init__(
            [(name, folder / name) for name in names], f"folder {folder}", every, fps, on_bad_image, min_frames
        )
        self.note_twins(twins)


class GlobSource(ImageFileSource):
    """The images that match a pattern, in the natural order of their whole paths.

    Args:
        pattern: such as ``photos/*/left_*.jpg``; ``**`` for folders at any depth. Folders that exist are meant
            literally, whatever characters their names have.
        exclude, every, fps, on_bad_image, min_frames: as for `FolderSource`.

    Raises:
        SourceError: too few images match.
    """

    def __init__(
        self,
        pattern: str,
        exclude: str | None = "depth",
        every: int = 1,
        fps: float = 30.0,
        on_bad_image: str = "error",
        min_frames: int = 2,
    ):
        matches = glob.glob(_literal_where_it_exists(pattern), recursive=True)
        everything = [Path(match).as_posix() for match in matches if not Path(match).is_dir()]
        names, twins = drop_twins(select_names(everything, None, exclude))
        if not names:
            raise SourceError(f"pattern {pattern}: {_nothing_found(everything, None, exclude)}")
        super().__init__(
            [(name, Path(name)) for name in names], f"pattern {pattern}", every, fps, on_bad_image, min_frames
        )
        self.note_twins(twins)


class FilesSource(ImageFileSource):
    """Image files named one by one, in the order given; in that of their numbers if they stand in alphabetical order,
    as a shell lists a pattern.

    Args:
        paths: the files.
        exclude, every, fps, on_bad_image, min_frames: as for `FolderSource`.

    Raises:
        SourceError: too few files.
    """

    def __init__(
        self,
        paths: Sequence[str],
        exclude: str | None = "depth",
        every: int = 1,
        fps: float = 30.0,
        on_bad_image: str = "error",
        min_frames: int = 2,
    ):
        names = [Path(path).as_posix() for path in paths]
        if names == sorted(names, key=str.casefold) or names == sorted(names):
            names = sorted(names, key=natural_key)
        names = [name for name in names if not (exclude and exclude.lower() in Path(name).name.lower())]
        names, twins = drop_twins(names)
        super().__init__([(name, user_path(name)) for name in names], "files", every, fps, on_bad_image, min_frames)
        self.note_twins(twins)


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


def _literal_where_it_exists(pattern: str) -> str:
    """A pattern in which the folders that exist have no signs of a pattern."""
    place, *rest = user_path(pattern).parts
    escaped = [glob.escape(place) if Path(place).exists() else place]
    for part in rest:
        place = f"{place}/{part}"
        escaped.append(glob.escape(part) if Path(place).exists() else part)
    return str(Path(*escaped))


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


def _nothing_found(names: Sequence[str], suffix: str | None, exclude: str | None) -> str:
    """Says which endings were looked for, and what there is instead."""
    wanted = suffix or " ".join(IMAGE_SUFFIXES)
    kinds = Counter(Path(name).suffix or "(no ending)" for name in names).most_common(5)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds) or "no files"
    rule = f' without "{exclude}" in the name' if exclude else ""
    return f"no images found; looked for files ending in {wanted}{rule}, there are: {found}"
