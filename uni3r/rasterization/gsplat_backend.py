"""The CUDA back end: gsplat (Ye et al. 2024), called as the published Uni3R calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from uni3r.gaussians.gaussians import Gaussians
from uni3r.rasterization.rendering import RasterizationSettings, Rendering

CHANNELS_PER_PASS = 32
"""Number of channels that gsplat blends at a time."""
_COMPILED = {"max_alpha": 0.999, "min_alpha": 1 / 255, "min_transmittance": 1e-4}
"""Constants of gsplat 1.5's kernels."""


def render_gsplat(
    gaussians: Gaussians,
    colours: Tensor,
    view_matrices: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    near: float,
    far: float,
    settings: RasterizationSettings,
) -> Rendering:
    """Render one scene in V cameras; arguments and result are those of `render_torch`, tensors on CUDA.

    Raises:
        ImportError: if gsplat is not installed.
        ValueError: the settings have thresholds other than those compiled into gsplat.
    """
    for name, value in _COMPILED.items():
        if getattr(settings, name) != value:
            raise ValueError(
                f"{name}: gsplat is compiled with {value}; use backend=torch for {getattr(settings, name)}"
            )
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise ImportError(
            "rendering on CUDA needs gsplat: bash scripts/setup.sh uni3r, or choose backend=torch"
        ) from error
    views, number = len(view_matrices), len(gaussians.means)
    values = colours[0] if len(colours) == 1 else colours
    if gaussians.features is not None:
        shared = gaussians.features if values.ndim == 2 else gaussians.features.expand(views, number, -1)
        values = torch.cat([shared, values], dim=-1)
    rendered, alpha, _ = rasterization(
        means=gaussians.means,
        quats=gaussians.rotations,
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        colors=values,
        viewmats=view_matrices,
        Ks=intrinsics,
        width=size[1],
        height=size[0],
        near_plane=near,
        far_plane=far,
        radius_clip=0.0,
        eps2d=settings.eps2d,
        sh_degree=None,  # the values are colours already
        packed=False,
        render_mode="RGB+D",  # "ED" would divide the depth by alpha
        rasterize_mode="classic",
        channel_chunk=CHANNELS_PER_PASS,
    )
    channels = rendered.movedim(-1, 1)
    image, depth = channels[:, -4:-1], channels[:, -1]
    features = None if gaussians.features is None else channels[:, :-4]
    return Rendering(image, features, depth, alpha[..., 0])
