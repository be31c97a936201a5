"""Uni3R: unposed pictures to semantic Gaussians in one forward pass.

import uni3r
scene = uni3r.reconstruct("my_photos/", model="uni3r_tiny")
scene.save("out/")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.lazy import lazy_names

if TYPE_CHECKING:
    from uni3r.api import reconstruct
    from uni3r.gaussians.gaussians import Gaussians
    from uni3r.models.uni3r import Uni3R
    from uni3r.pretrained import load_model
    from uni3r.rasterization import rasterize
    from uni3r.scene.scene import Scene

__all__ = ["Gaussians", "Scene", "Uni3R", "load_model", "rasterize", "reconstruct"]

_HOMES = {
    "Gaussians": "uni3r.gaussians.gaussians",
    "Scene": "uni3r.scene.scene",
    "Uni3R": "uni3r.models.uni3r",
    "load_model": "uni3r.pretrained",
    "rasterize": "uni3r.rasterization",
    "reconstruct": "uni3r.api",
}

__getattr__ = lazy_names(__name__, _HOMES)
