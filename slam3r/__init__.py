"""SLAM3R: dense reconstruction from a stream of frames.

import slam3r
scene = slam3r.reconstruct("my_photos/", model="slam3r_tiny")
scene.save("out/")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.lazy import lazy_names

if TYPE_CHECKING:
    from slam3r.api import reconstruct
    from slam3r.continuation.extend import extend
    from slam3r.continuation.localize import localize
    from slam3r.continuation.merge import merge
    from slam3r.pretrained import load_model
    from slam3r.reconstruction import ReconstructionSettings
    from slam3r.scene.scene import Reconstruction, Scene

__all__ = [
    "Reconstruction",
    "ReconstructionSettings",
    "Scene",
    "extend",
    "load_model",
    "localize",
    "merge",
    "reconstruct",
]

_HOMES = {
    "reconstruct": "slam3r.api",
    "extend": "slam3r.continuation.extend",
    "localize": "slam3r.continuation.localize",
    "merge": "slam3r.continuation.merge",
    "Reconstruction": "slam3r.scene.scene",
    "ReconstructionSettings": "slam3r.reconstruction",
    "Scene": "slam3r.scene.scene",
    "load_model": "slam3r.pretrained",
}

__getattr__ = lazy_names(__name__, _HOMES)
