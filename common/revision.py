"""Which weights exactly: the name of a version, for summaries."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 22


def revision_of(source: str | Path) -> str | None:
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
