"""Folder for results when the user names none: beside the input, and never one that exists."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

from common.data.sources.recognition import MAIN_ARGUMENT
from common.paths import user_path

_PATTERN_SIGNS = re.compile(r"[*?\[]")
_AWKWARD = re.compile(r"[^\w.-]+")


def chosen_output(given: str | None, source: Mapping[str, Any], word: str) -> Path:
    """The folder that the user gave, or else one of `free_output`, which is printed."""
    if given is not None:
        return user_path(given)
    output = free_output(source, word)
    print(f"results go to {output}", flush=True)
    return output


def free_output(source: Mapping[str, Any], word: str) -> Path:
    """Find the folder for the results of a source: ``photos_reconstruction``, then ``photos_reconstruction_2``.

    It lies beside the folder or the video; for cameras, streams, and where nothing can be written there, in the current
    folder. Pictures of the current folder itself get ``reconstruction`` in it.

    Args:
        source: a configuration of the group ``source``.
        word: what the results are, such as ``reconstruction``.
    """
    place = _place(source)
    if place is None:
        device = re.sub(r"^\w+://([^/]*@)?", "", str(source.get("device", "camera")))  # no password in a name
        folder, stem = Path(), _AWKWARD.sub("_", device if not device.isdigit() else f"camera_{device}").strip("_.")
    elif place.resolve() == Path.cwd():
        folder, stem = Path(), ""
    else:
        folder, stem = place.parent, place.stem if place.is_file() else place.resolve().name
    if not os.access(folder, os.W_OK):
        folder = Path()
    name = f"{stem}_{word}".strip("_")
    return free_path(folder / name)


def free_path(path: Path, ending: str = "") -> Path:
    """A path with an ending, numbered from 2 where it exists: ``tour.mp4``, then ``tour_2.mp4``."""
    names = chain([path.name], (f"{path.name}_{number}" for number in count(2)))
    return next(one for name in names if not os.path.lexists(one := path.with_name(name + ending)))


def _place(source: Mapping[str, Any]) -> Path | None:
    """The folder or file that a source reads; None for a device."""
    for argument in ("path", *MAIN_ARGUMENT.values()):
        value = source.get(argument)
        if not value or argument == "device":
            continue
        if argument == "path":
            return user_path(value)
        if argument == "pattern":
            return Path(*_fixed_parts(user_path(value)))
        return Path(os.path.commonpath([user_path(path).parent.absolute() for path in value]))
    return None


def _fixed_parts(pattern: Path) -> list[str]:
    """The folders of a pattern before the first that is one."""
    parts: list[str] = []
    for part in pattern.parent.parts:
        if _PATTERN_SIGNS.search(part) and not Path(*parts, part).exists():
            break
        parts.append(part)
    return parts
