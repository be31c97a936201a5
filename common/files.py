"""Atomic file writing: files are written beside their destination, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from common.errors import InputError
from common.paths import user_path

_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{4})(?P<process>[0-9a-f]{8})[0-9a-f]{8}\.(?P<kind>tmp|old)(\.[^.]*)?"
)
"""Names of temporary files and folders: that of the final one, host and process that write it, and a random number."""
_LONGEST_NAME = 255 - len(".0123456789abcdef0123.tmp")
"""Bytes of a file or folder name that leave room for that of its temporary file; 255 is what file systems take."""
_DISK_FAULTS = {errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
_TORCH_WRITER = "inline_container"
"""In what torch says when it could not write."""
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_NO_SPACE = 1 << 16
"""Bytes: a disk with less is full."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`, for libraries that want a name to write to.

    On a clean exit the file is flushed to disk and replaces `path`; on an exception it is removed and `path` is
    unchanged. The suffix is kept, as many libraries choose the format by it. Parent folders are created.

    Raises:
        InputError: the disk is full or does not take the file, in whatever words a library said so.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.stem}.{_token()}.tmp{final.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, final)
    except Exception as error:
        if (reason := _fault_of_disk(error, final.parent)) is not None:
            raise InputError(f"cannot write {final}: {reason}") from error
        raise
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
    but no reader ever sees a mixture of old and new files. What killed runs left beside it is removed before.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(final.parent)
    token = _token()
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


@contextmanager
def temporary_folder(parent: str | os.PathLike[str], name: str) -> Iterator[Path]:
    """Context of a hidden folder in `parent` that is removed at the end, by the next run if this one is killed."""
    place = Path(parent) / f".{name}.{_token()}.tmp"
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def swap_entries(folder: Path, stage: Path, old: Iterable[str], new: Iterable[str]) -> None:
    """Replace files and folders of `folder` by those of `stage`: all of them, or on an exception none.

    Args:
        folder: where the old ones are, and the new ones will be.
        stage: in the same file system.
        old: names to remove, in this order; those that do not exist are passed over.
        new: names to move from `stage`, in this order.
    """
    moved: list[tuple[Path, Path]] = []
    with temporary_folder(folder, "earlier") as earlier:
        try:
            for origin, target, names in ((folder, earlier, old), (stage, folder, new)):
                for name in names:
                    if os.path.lexists(origin / name):
                        (target / name).parent.mkdir(parents=True, exist_ok=True)
                        os.replace(origin / name, target / name)
                        moved.append((origin / name, target / name))
        except BaseException:
            for before, now in reversed(moved):
                os.replace(now, before)
            raise


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files and folders that killed runs of this machine left in a folder.

    A folder that was being replaced at that moment comes back under its name.
    """
    place = Path(folder)
    if not place.is_dir():
        return
    host, found = _host(), [(path, _TEMPORARY.fullmatch(path.name)) for path in place.iterdir()]
    for path, match in found:
        if match is None or match["host"] != host or _is_running(int(match["process"], 16)):
            continue
        final = path.with_name(match["name"])
        if match["kind"] == "old" and not final.exists():
            path.rename(final)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def check_file_writable(file: str | os.PathLike[str]) -> None:
    """Check that one file can be written; see `check_writable`."""
    path = user_path(file).absolute()
    check_writable(path.parent, (path.name,))
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise InputError(f"output {file}: the name {path.name[:40]}... is too long")


def check_apart(output: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str] | None]) -> None:
    """Check that results do not go into a folder that is read from, where they would become input.

    Raises:
        InputError: `output` is one of `inputs`.
    """
    place = user_path(output).resolve()
    for given in inputs:
        if given is not None and user_path(given).resolve() == place:
            raise InputError(f"output {output} is also what is read from; choose another output")


def check_writable(folder: str | os.PathLike[str], files: Iterable[str] = ()) -> None:
    """Check that files can be written to a folder that may not exist yet; leaves nothing there.

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
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=existing))
    except OSError as error:
        raise InputError(f"output {folder}: nothing can be written to {existing}: {error.strerror}") from error
    for name in files:
        if (place / name).is_dir():
            raise InputError(f"output {folder}: {name} is a folder there, and is to be written as a file")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented UTF-8 JSON. NaN and infinity are errors, since other readers reject them.

    Bytes of file names that are not UTF-8 come out as ``\\udcff``, which Python reads back as the same name.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    text = _NOT_UTF8.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file, with or without a byte order mark.

    Raises:
        ValueError: it is not valid JSON, or nested too deeply to be meant.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def relative_name(file: Path, folder: Path) -> str:
    """Name of a file relative to a folder, with forward slashes; absolute where there is no way, on Windows."""
    with suppress(ValueError):  # another drive
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    return file.resolve().as_posix()


def _token() -> str:
    """Host, process and a random number, for the name of a temporary file."""
    return f"{_host()}{os.getpid():08x}{uuid.uuid4().hex[:8]}"


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return True
    if os.name == "nt":  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _fault_of_disk(error: Exception, folder: Path) -> str | None:
    """Reason why the disk refused a write; None if it did not. Libraries say it in many ways, or not at all."""
    if isinstance(error, InputError):
        return None
    text = str(error)
    for fault in _DISK_FAULTS:
        if getattr(error, "errno", None) == fault or os.strerror(fault) in text:
            return os.strerror(fault)
    with suppress(OSError):
        if shutil.disk_usage(folder).free < _NO_SPACE:
            return os.strerror(errno.ENOSPC)
    if _TORCH_WRITER in text or (isinstance(error, OSError) and error.errno is None):  # an encoder that only failed
        return f"the file could not be written whole; is the disk full? ({text or type(error).__name__})"
    return None


def _flush(path: Path) -> None:
    """Flush a file, or a folder's directory entries, to disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
