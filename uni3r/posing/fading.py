"""Gaussians that other views see through fade: a wrong depth floats in front of what these views show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from common.refinement.dense.consistency import count_agreement
from common.refinement.dense.settings import ConsistencySettings
from common.refinement.dense.views import dense_views
from common.refinement.outcome import Refinement
from common.refinement.types import Picture
from uni3r.gaussians.gaussians import Gaussians

_EXPONENT = 2.0
"""Power of the share of views that see a surface. Layers that fade by the share itself still hide what is behind."""


def faded(
    gaussians: Gaussians, refinement: Refinement, pictures: Sequence[Picture], settings: ConsistencySettings
) -> Gaussians:
    """Multiply opacities by the squared share of the views that see a surface there, of all that look there.

    All views are asked, however far from the one that a Gaussian comes from: what floats before those beside it in the
    same way hides from them what only views from the other side show.

    Args:
        gaussians: one scene (1, V * H * W), view by view.
        refinement: its cameras and depths, both there.
        pictures: V, numbered as the refinement's cameras are.
        settings: difference of depths that agree.

    Returns:
        The same Gaussians; those whose depth is confirmed keep their opacity.
    """
    assert refinement.cameras is not None and refinement.depth is not None
    depth, device = refinement.depth.depth.to(gaussians.means.device), gaussians.means.device
    count, size = len(depth), (int(depth.shape[-2]), int(depth.shape[-1]))
    cameras = refinement.cameras
    views = dense_views(pictures, cameras.cameras, cameras.camera_to_world, size, [1.0], device)[1.0]
    numbers = torch.arange(count, device=device)
    others = [
        numbers[(numbers != frame) & views.posed] if views.posed[frame] else numbers[:0] for frame in range(count)
    ]
    found = count_agreement(views, depth, others, settings, angles=False)
    share = (1 + found.agree.float()) / (1 + found.seen.float())
    share = torch.where(refinement.depth.confirmed.to(device), 1.0, share**_EXPONENT)
    return replace(gaussians, opacities=gaussians.opacities * share.reshape(1, -1).to(gaussians.opacities))
