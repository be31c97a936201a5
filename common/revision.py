"""Revisions of code and weights, for summaries, checkpoints and benchmark reports."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
from contextlib import suppress
from pathlib import Path

DISTRIBUTION = "slam3r-uni3r"

_ROOT = Path(__file__).resolve().parents[1]
_BLOCK = 1 << 22


def code_revision() -> dict[str, str | None]:
    """Version of the installed package and commit of this checkout; None for what is not known.

    Returns:
        ``version``, and ``commit``: the full hash, with ``-dirty`` if tracked files were edited since.
    """
    version = commit = None
    with suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version(DISTRIBUTION)
    if (_ROOT / ".git").exists():  # an installed copy inside another repository is not a checkout
        with suppress(OSError, subprocess.SubprocessError):
            command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
            result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            commit = result.stdout.strip()
    return {"version": version, "commit": commit}


def weights_revision(source: str | Path) -> str | None:
    """The hub's commit of a weights file in the hub's cache, else a hash of the file; None where there is no file."""
    file = Path(source)
    if not file.is_file():
        return None
    if file.parent.parent.name == "snapshots":
        return file.parent.name
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    return f"sha256:{digest.hexdigest()[:16]}"
