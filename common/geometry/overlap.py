"""Share of a surface that two views have in common, from true depth and poses."""

from __future__ import annotations

import torch
from torch import Tensor

from common.geometry.cameras import project_world, unproject_to_world
from common.views import Views


def view_overlap(views: Views, step: int = 4, tolerance: float = 0.05) -> Tensor:
    """(V, V) share of the pixels of view i whose surface view j sees.

    Args:
        views: (V, ..) with depth, intrinsics and poses.
        step: every ``step``-th pixel is checked.
        tolerance: relative depth difference below which a surface is the same.
    """
    assert views.depth is not None and views.intrinsics is not None and views.camera_to_world is not None
    count, height, width = views.depth.shape
    points = unproject_to_world(views.depth, views.intrinsics, views.camera_to_world)[:, ::step, ::step]
    points = points.reshape(count, -1, 3)
    overlap = torch.zeros(count, count)
    for j in range(count):
        pixels, depth = project_world(points.reshape(-1, 3), views.intrinsics[j], views.camera_to_world[j])
        column, row = pixels.round().nan_to_num(nan=-1, posinf=-1, neginf=-1).long().unbind(-1)
        inside = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        seen = views.depth[j][row.clamp(0, height - 1), column.clamp(0, width - 1)]
        visible = inside & ((seen - depth).abs() < tolerance * depth)
        overlap[:, j] = visible.view(count, -1).float().mean(dim=1)
    return overlap
