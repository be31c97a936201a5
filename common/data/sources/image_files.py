"""Image files as frames: a folder, a pattern, or files named one by one (a list in a file: `image_list`)."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.data.sources.file_names import drop_twins, list_files, natural_key, select_names
from common.data.sources.frame_source import Frame, FrameSource, SourceError
from common.data.sources.images import (
    IMAGE_SUFFIXES,
    ImageReadError,
    check_image,
    is_label_image,
    is_plain_file,
    read_picture,
)
from common.paths import user_path


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
            raise ImageReadError(error.path, f"{error.reason} (on_bad_image=skip leaves such files out)") from error
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


def _literal_where_it_exists(pattern: str) -> str:
    """A pattern in which the folders that exist have no signs of a pattern."""
    place, *rest = user_path(pattern).parts
    escaped = [glob.escape(place) if Path(place).exists() else place]
    for part in rest:
        place = f"{place}/{part}"
        escaped.append(glob.escape(part) if Path(place).exists() else part)
    return str(Path(*escaped))


def _nothing_found(names: Sequence[str], suffix: str | None, exclude: str | None) -> str:
    """Says which endings were looked for, and what there is instead."""
    wanted = suffix or " ".join(IMAGE_SUFFIXES)
    kinds = Counter(Path(name).suffix or "(no ending)" for name in names).most_common(5)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds) or "no files"
    rule = f' without "{exclude}" in the name' if exclude else ""
    return f"no images found; looked for files ending in {wanted}{rule}, there are: {found}"
