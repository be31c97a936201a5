"""Rendering as the published Uni3R does it: everything scaled so that the near plane lies at 1."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.rasterization.dispatch import rasterize
from uni3r.rasterization.rendering import RasterizationSettings, Rendering

NEAR = 0.1
"""Metres."""
FAR = 100.0
"""Metres."""


def rasterize_at_published_scale(
    gaussians: Gaussians,
    cameras: Cameras,
    size: tuple[int, int],
    scene_scale: Tensor,
    settings: RasterizationSettings | None = None,
) -> Rendering:
    """Render with the constant harmonic only, between 0.1 and 100 metres.

    A network that sees no metres fixes its own unit: ``scene_scale`` metres (in training by two views, the distance
    between the two cameras; 1 where poses are metric). The published renderer multiplies centres, sizes and camera
    positions by scene_scale / 0.1, so its depth is in tenths of a metre whatever the unit of the scene.

    Args:
        gaussians: (B, N, ..) in the unit of the scene.
        cameras: (B, V, ..), positions in the unit of the scene.
        size: (height, width).
        scene_scale: (B,) metres per unit of the scene, positive.
        settings: of the renderer.

    Returns:
        `Rendering` whose depth is in tenths of a metre.

    Raises:
        ValueError: as `rasterize`, or for a scale of another shape.
    """
    if scene_scale.shape != gaussians.means.shape[:1]:
        expected = tuple(gaussians.means.shape[:1])
        raise ValueError(f"scene_scale: expected {expected}, one per scene, got {tuple(scene_scale.shape)}")
    factor = (scene_scale / NEAR).to(gaussians.means)[:, None, None]
    poses = cameras.camera_to_world.clone()
    poses[..., :3, 3] *= factor
    scaled = replace(gaussians, means=gaussians.means * factor, scales=gaussians.scales * factor)
    moved = replace(cameras, camera_to_world=poses)
    return rasterize(scaled, moved, size, near=1.0, far=FAR / NEAR, sh_degree=0, settings=settings)
