"""Names of picture files as cameras, phones and programs write them: selection and order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath

from common.data.sources.images import IMAGE_SUFFIXES

_NUMBER = re.compile(r"((?<![\d.])\d+\.\d+(?!\.?\d)|\d+)")
"""A whole number, or one with a decimal point that is no part of a date or a version such as 2024.01.31."""
_PHONE_ORIGINALS = (".heic", ".heif")
_PLAIN_COPIES = (".jpg", ".jpeg", ".png")


def natural_key(name: str) -> tuple[list[str | Decimal], str]:
    """Sort key that reads numbers as numbers: ``frame-2`` before ``frame-10``, ``0.25`` before ``0.5``.

    Upper and lower case sort alike.
    """
    parts: list[str | Decimal] = [*_NUMBER.split(name.casefold())]  # text, number, text, ...: kinds never meet
    parts[1::2] = [Decimal(number) for number in parts[1::2]]
    return parts, name


def drop_twins(names: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Leave out the HEIC original of a picture whose JPEG or PNG copy lies beside it: one photograph, one picture.

    Returns:
        The names that stay, in their order, and (name left out, name of its copy).
    """
    copies = {_stem(name): name for name in names if _suffix(name) in _PLAIN_COPIES}
    twins = [
        (name, copies[_stem(name)]) for name in names if _suffix(name) in _PHONE_ORIGINALS and _stem(name) in copies
    ]
    dropped = {name for name, _ in twins}
    return [name for name in names if name not in dropped], twins


def drop_live_films(names: Sequence[str], film_suffixes: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Leave out the film of a live photograph, which has the photograph's name; see `drop_twins`."""
    pictures = {_stem(name): name for name in names if _suffix(name) in IMAGE_SUFFIXES}
    twins = [
        (name, pictures[_stem(name)]) for name in names if _suffix(name) in film_suffixes and _stem(name) in pictures
    ]
    dropped = {name for name, _ in twins}
    return [name for name in names if name not in dropped], twins


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")).casefold()


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def select_names(names: Iterable[str], suffix: str | None = None, exclude: str | None = "depth") -> list[str]:
    """Those of `names` that are frames, in the order of their numbers.

    The order is the natural order of the whole name. For names that differ by one number this is the published order;
    the published code looks at the last number alone, and fails on names without one, which here sort alphabetically.

    Args:
        names: relative paths with forward slashes.
        suffix: wanted ending such as ``.color.png``; None for any of `IMAGE_SUFFIXES`. Case does not matter.
        exclude: leave out files whose name (without folders) contains this, in any case; None or "" for none.
            Hidden files (``.DS_Store``, ``._IMG_1.jpg``) are always left out.
    """
    endings = (suffix.lower(),) if suffix else IMAGE_SUFFIXES
    chosen = []
    for name in names:
        base = name.rsplit("/", 1)[-1].lower()
        if base.endswith(endings) and not base.startswith(".") and not (exclude and exclude.lower() in base):
            chosen.append(name)
    return sorted(chosen, key=natural_key)


def list_files(folder: str | Path, recursive: bool = False) -> list[str]:
    """Names of all files in a folder, relative to it, with forward slashes, unsorted.

    Links to folders are followed; a folder that contains itself by a link is listed once.

    Raises:
        OSError: the folder cannot be listed.
    """
    return _list_files(Path(folder), recursive, {os.path.realpath(folder)})


def _list_files(folder: Path, recursive: bool, seen: set[str]) -> list[str]:
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_folder(entry):
                names.append(entry.name)
            elif recursive and (place := os.path.realpath(entry.path)) not in seen:
                seen.add(place)
                names += [f"{entry.name}/{name}" for name in _list_files(Path(entry.path), recursive, seen)]
    return names


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """False also for a link to itself, which nothing can follow: as a file, it is refused by name."""
    try:
        return entry.is_dir()
    except OSError:
        return False
