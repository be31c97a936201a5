"""The two networks of SLAM3R."""

from slam3r.models.image_to_points import ImageToPoints
from slam3r.models.local_to_world import LocalToWorld

__all__ = ["ImageToPoints", "LocalToWorld"]
