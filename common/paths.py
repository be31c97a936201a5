"""Paths as users write them, and the folder of the files that come with the code."""

from __future__ import annotations

import os
from pathlib import Path

PACKED = "shipped"
"""Folder of a wheel's copies in this package; `setup.py` fills it."""


def shipped_folder() -> Path:
    """Folder that holds ``configs`` and ``checkpoints``: the checkout, or the copy in an installed package."""
    package = Path(__file__).resolve().parent
    return packed if (packed := package / PACKED).is_dir() else package.parent


def shipped_path(path: str | os.PathLike[str]) -> Path:
    """Read a path of a user or of a configuration: what is not here may come with the code, as ``checkpoints`` do."""
    here = user_path(path)
    return shipped if not here.exists() and (shipped := shipped_folder() / here).exists() else here


def user_path(path: str | os.PathLike[str]) -> Path:
    """Read a path: ``~`` stands for a home folder, unless there is no such user or a file is called so.

    No other character has a meaning.
    """
    literal = Path(path)
    if not os.fspath(path).startswith("~") or os.path.lexists(literal):
        return literal
    try:
        return literal.expanduser()
    except RuntimeError:  # there is no such user
        return literal
