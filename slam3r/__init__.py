"""SLAM3R: dense reconstruction from a stream of frames.

import slam3r
scene = slam3r.reconstruct("my_photos/", model="slam3r_tiny")
scene.save("out/")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slam3r.api import reconstruct
    from slam3r.pretrained import load_model
    from slam3r.reconstruction import ReconstructionSettings
    from slam3r.scene.scene import Reconstruction

__all__ = ["Reconstruction", "ReconstructionSettings", "load_model", "reconstruct"]

_HOMES = {
    "reconstruct": "slam3r.api",
    "Reconstruction": "slam3r.scene.scene",
    "ReconstructionSettings": "slam3r.reconstruction",
    "load_model": "slam3r.pretrained",
}


def __getattr__(name: str) -> Any:
    """Imports on first use, so that importing one part of the package does not load all of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
