"""The door to pycolmap, which has no wheels for some platforms (Linux on ARM, Intel Macs)."""

from __future__ import annotations

from types import ModuleType


class BackendMissingError(ImportError):
    """pycolmap is not installed; the message says how to install it."""


def pycolmap_module() -> ModuleType:
    """Import pycolmap.

    Raises:
        BackendMissingError: it is not installed, or not for this platform.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise BackendMissingError(
            f"this needs pycolmap 4.2 or later (pip install pycolmap), which cannot be imported: {error}"
        ) from error
    return pycolmap
