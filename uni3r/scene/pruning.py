"""The Gaussians that matter most for the input views, for smaller files."""

from __future__ import annotations

import torch
from torch import Tensor

from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.rasterization import rasterize
from uni3r.scene.scene_data import FAR, NEAR, SceneData


def blending_weights(scene: SceneData) -> Tensor:
    """Weight of each Gaussian in the input views: the sum over their pixels of alpha * transmittance.

    It is the gradient of rendered features with respect to a feature of ones, so it counts exactly what the renderer
    draws, occlusion included, as RadSplat's importance does (Niemeyer et al. 2024, with the largest weight in a pixel
    in place of the sum). Views without a pose do not count.

    Returns:
        (N,).
    """
    gaussians, depth = scene.gaussians, scene.median_depth
    weights = gaussians.means.new_zeros(gaussians.count)
    bare = {**vars(gaussians), "harmonics": gaussians.harmonics[..., :1, :]}
    for view in scene.posed:
        ones = gaussians.means.new_ones(1, gaussians.count, 1, requires_grad=True)
        cameras = Cameras(scene.cameras.camera_to_world[None, [view]], scene.cameras.intrinsics[None, [view]])
        with torch.enable_grad():
            rendering = rasterize(
                Gaussians(**{**bare, "features": ones}),
                cameras.to(gaussians.means.device),
                scene.size,
                near=NEAR * depth,
                far=FAR * depth,
                settings=scene.settings,
            )
            assert rendering.features is not None
            (gradient,) = torch.autograd.grad(rendering.features.sum(), ones)
        weights += gradient[0, :, 0]
    return weights


def most_important(scene: SceneData, count: int) -> Gaussians:
    """The `count` Gaussians with the largest `blending_weights`, in their order; all where there are no more."""
    if scene.gaussians.count <= count:
        return scene.gaussians
    kept = blending_weights(scene).topk(count).indices.sort().values
    return scene.gaussians.take(kept)
