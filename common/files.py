"""Atomic file writing: files are written beside their destination, flushed to disk, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from common.errors import InputError
from common.paths import user_path

_LONGEST_NAME = 255 - len(".0123456789ab.tmp")
"""Bytes of a file or folder name that leave room for that of its temporary file; 255 is what file systems take."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`, for libraries that want a name to write to.

    On a clean exit the file is flushed to disk and replaces `path`; on an exception it is removed and `path` is
    unchanged. The suffix is kept, as many libraries choose the format by it. Parent folders are created.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.stem}.{uuid.uuid4().hex[:12]}.tmp{final.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)
    _flush(final.parent)


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb", encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file for writing that replaces `path` only when the block ends without an exception.

    Args:
        path: the file to write; parent folders are created.
        mode: "w" (UTF-8 unless `encoding` says otherwise, newlines as given), "wb" or "w+b".
        encoding: encoding of text.
    """
    if "w" not in mode:
        raise ValueError(f"mode must write from scratch, not {mode!r}")
    is_text = "b" not in mode
    with atomic_path(path) as temporary:
        encoding = (encoding or "utf-8") if is_text else None
        with open(temporary, mode, encoding=encoding, newline="" if is_text else None) as file:
            yield file


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Context of a temporary folder that replaces `path` when the block ends without an exception.

    An existing folder is replaced as a whole. Between its removal and the rename there is an instant without a folder,
    but no reader ever sees a mixture of old and new files.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:12]
    temporary = final.with_name(f".{final.name}.{token}.tmp")
    replaced = final.with_name(f".{final.name}.{token}.old")
    temporary.mkdir()
    try:
        yield temporary
        if final.exists():
            os.replace(final, replaced)
        os.replace(temporary, final)
    finally:
        if replaced.exists() and not final.exists():  # the rename failed: restore the old folder
            os.replace(replaced, final)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def check_writable(folder: str | os.PathLike[str], files: Iterable[str] = ()) -> None:
    """Check that files can be written to a folder that may not exist yet; creates and removes nothing.

    Args:
        folder: where to write.
        files: names in it that will be written as files.

    Raises:
        InputError: something in the way is a file, a broken link or a folder, may not be written to, or has a name that
            is too long.
    """
    place = user_path(folder).absolute()
    for part in place.parts[1:]:
        if len(os.fsencode(part)) > _LONGEST_NAME:
            raise InputError(f"output {folder}: the name {part[:40]}... is too long")
    existing = place
    while not os.path.lexists(existing):
        existing = existing.parent
    if existing.is_symlink() and not existing.exists():
        raise InputError(f"output {folder}: {existing} is a link to nothing")
    if not existing.is_dir():
        raise InputError(f"output {folder}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"output {folder}: no permission to write to {existing}, or it is read-only")
    for name in files:
        if (place / name).is_dir():
            raise InputError(f"output {folder}: {name} is a folder there, and is to be written as a file")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented UTF-8 JSON. NaN and infinity are errors, since other readers reject them."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file, with or without a byte order mark."""
    return json.loads(Path(path).read_text(encoding="utf-8-sig"))


def relative_name(file: Path, folder: Path) -> str:
    """Name of a file relative to a folder, with forward slashes; absolute where there is no way, on Windows."""
    with suppress(ValueError):  # another drive
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    return file.resolve().as_posix()


def _flush(path: Path) -> None:
    """Flush a file, or a folder's directory entries, to disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
