"""Joining of large files that were split for upload: ``model.pth.part_aa``, ``model.pth.part_ab``, .."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import CheckpointError
from common.files import atomic_path

_BLOCK = 1 << 24
_MARK = ".part_"


def find_parts(path: Path) -> list[Path]:
    """Parts of a file in order, by the name of the whole or of any part; empty if there are none.

    Raises:
        CheckpointError: a part between two others is missing; the message names the first.
    """
    whole = path.name.split(_MARK)[0]
    parts = sorted(path.parent.glob(f"{whole}{_MARK}*"))
    for index, part in enumerate(parts):
        expected = whole + _MARK + _suffix(index)
        if part.name != expected:
            raise CheckpointError(f"{path.parent / expected} is missing among the parts of {whole}")
    return parts


@contextmanager
def whole_file(path: Path, scratch: Path, progress: Callable[[int, int], None] | None = None) -> Iterator[Path]:
    """Context of the file itself, or of its parts joined in a temporary file.

    Args:
        path: path of the whole, which need not exist if its parts do, or of any part.
        scratch: folder of the temporary file; needs as much space as the parts.
        progress: called with the bytes written so far and the total.

    Raises:
        CheckpointError: neither the file nor its parts exist, a part is missing, or there is not enough space.
    """
    if path.is_file() and _MARK not in path.name:
        yield path
        return
    parts = find_parts(path)
    if not parts:
        raise CheckpointError(f"no checkpoint at {path}, nor parts of it ({path.name}{_MARK}aa, ..)")
    total = sum(part.stat().st_size for part in parts)
    scratch.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if free < total:
        raise CheckpointError(
            f"{scratch} has {free / 1e9:.1f} GB free, the parts of {path.name} take {total / 1e9:.1f} GB"
        )
    joined = scratch / path.name.split(_MARK)[0]
    try:
        with atomic_path(joined) as temporary, temporary.open("wb") as file:
            written = 0
            for part in parts:
                with part.open("rb") as content:
                    while block := content.read(_BLOCK):
                        written += file.write(block)
                        if progress is not None:
                            progress(written, total)
        yield joined
    finally:
        joined.unlink(missing_ok=True)


def _suffix(index: int) -> str:
    """Suffix aa, ab, .. az, ba, .. of the ``split`` command."""
    return chr(ord("a") + index // 26) + chr(ord("a") + index % 26)
