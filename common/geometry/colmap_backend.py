"""The door to pycolmap, which has no wheels for some platforms (Linux on ARM, Intel Macs)."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


class BackendMissingError(ImportError):
    """pycolmap is not installed; the message says how to install it."""


def pycolmap_module() -> ModuleType:
    """Import pycolmap.

    Raises:
        BackendMissingError: it is not installed, or not for this platform.
    """
    try:
        with _sigterm_unchanged():
            import pycolmap
    except ImportError as error:
        raise BackendMissingError(
            f"this needs pycolmap 4.2 or later (pip install pycolmap), which cannot be imported: {error}"
        ) from error
    return pycolmap


@contextmanager
def _sigterm_unchanged() -> Iterator[None]:
    """Context of the first import, which makes a SIGTERM abort the process with a stack trace, whatever the program
    has set up for it. Python can undo that in the main thread only."""
    is_first = "pycolmap" not in sys.modules
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if is_first and handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
