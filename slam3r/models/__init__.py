"""The two networks of SLAM3R."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.lazy import lazy_names

if TYPE_CHECKING:
    from slam3r.models.image_to_points import ImageToPoints
    from slam3r.models.local_to_world import LocalToWorld

__all__ = ["ImageToPoints", "LocalToWorld"]

_HOMES = {
    "ImageToPoints": "slam3r.models.image_to_points",
    "LocalToWorld": "slam3r.models.local_to_world",
}

__getattr__ = lazy_names(__name__, _HOMES)
