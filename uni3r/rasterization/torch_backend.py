"""CPU back end: projection with autograd, then tiles and compositing with an explicit backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from uni3r.gaussians.gaussians import Gaussians
from uni3r.rasterization.compositing import composite
from uni3r.rasterization.projection import project_gaussians
from uni3r.rasterization.rendering import RasterizationSettings, Rendering
from uni3r.rasterization.tiles import list_tiles


def render_torch(
    gaussians: Gaussians,
    colours: Tensor,
    view_matrices: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    near: float,
    far: float,
    settings: RasterizationSettings,
) -> Rendering:
    """Render one scene in V cameras.

    Args:
        gaussians: Gaussians without a batch axis; their harmonics are ignored.
        colours: (V or 1, N, 3) RGB.
        view_matrices: (V, 4, 4) world to camera.
        intrinsics: (V, 3, 3) in pixels, centre of the top left pixel at (0.5, 0.5).
        size: (height, width).
        near: near plane.
        far: far plane.
        settings: settings of the renderer.

    Returns:
        Rendering without a batch axis.
    """
    colours = colours.expand(len(view_matrices), -1, -1)
    ones = torch.ones_like(gaussians.opacities)[:, None]
    features = [] if gaussians.features is None else [gaussians.features]
    images = []
    for view_matrix, camera, colour in zip(view_matrices, intrinsics, colours, strict=True):
        splats = project_gaussians(
            gaussians.means,
            gaussians.scales,
            gaussians.rotations,
            view_matrix,
            camera,
            size,
            near,
            far,
            settings.eps2d,
        )
        values = torch.cat([colour, splats.depths[:, None], ones, *features], dim=1)
        tiles = list_tiles(splats, gaussians.opacities, size, settings.min_alpha, settings.tile_size, values.shape[1])
        images.append(composite(splats.centres, splats.factors, gaussians.opacities, values, tiles, size, settings))
    stacked = torch.stack(images)
    return Rendering(stacked[:, :3], stacked[:, 5:] if features else None, stacked[:, 3], stacked[:, 4])
