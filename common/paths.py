"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


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
