"""Reading of training checkpoints that refer to classes of a trainer, without importing or running them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals


class Inert:
    """Placeholder for objects of a trainer: accepts any state and discards it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Accept any constructor arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Ignore them."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""


def inert_globals(path: Path, packages: Sequence[str]) -> AbstractContextManager[Any]:
    """Context in which ``torch.load(path, weights_only=True)`` skips objects of the named packages.

    A Lightning file holds, beside the weights, callbacks and hyper-parameters as objects of the trainer's classes,
    which the weights-only reader rejects. Here every such name maps to `Inert` (or a plain dict for the trainer's dict
    type), so the file is read without the package, and none of its code runs. All other names are still rejected.

    Args:
        path: the checkpoint. Nothing is allowed for a file that is not in torch's zip format.
        packages: top-level package names, e.g. ``["pytorch_lightning"]``.
    """
    if not zipfile.is_zipfile(path):
        return nullcontext()
    allowed = tuple(f"{package}." for package in packages)
    names = [name for name in get_unsafe_globals_in_checkpoint(path) if name.startswith(allowed)]
    return safe_globals([(_stand_in(name), name) for name in names])


def _stand_in(name: str) -> type:
    # The weights-only reader fills only dict itself, no subclass.
    return dict if name.endswith(".AttributeDict") else type("Inert", (Inert,), {})
