"""Semi-global aggregation of a matching volume along eight directions.

Hirschmüller, "Stereo Processing by Semiglobal Matching and Mutual Information" (TPAMI 2008), equation 13. Rows are a
loop; batch, directions, depths and columns of a row are one tensor, so CPU and GPU share the code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.refinement.dense.settings import AggregationSettings


def aggregate(cost: Tensor, guide: Tensor, settings: AggregationSettings | None = None) -> Tensor:
    """Mean of the path costs of eight directions.

    Args:
        cost: (B, D, H, W) matching cost of D depth steps.
        guide: (B, H, W) grey picture in [0, 1]; depth may jump more cheaply where it changes.
        settings: penalties of depth steps.

    Returns:
        (B, D, H, W), whose minimum over D is the smoothed choice.
    """
    settings = settings or AggregationSettings()
    total = torch.zeros_like(cost)
    _add_paths(total, cost, guide, settings, diagonals=True)
    sideways = torch.zeros_like(cost.mT.contiguous())
    _add_paths(sideways, cost.mT.contiguous(), guide.mT, settings, diagonals=False)
    return total.add_(sideways.mT).div_(8)


def _add_paths(total: Tensor, cost: Tensor, guide: Tensor, settings: AggregationSettings, diagonals: bool) -> None:
    """Add the costs of paths from row to row, down and up together: straight, and both diagonals if wanted."""
    batch, depths, height, width = cost.shape
    shifts = (-1, 0, 1) if diagonals else (0,)
    penalties = _jump_penalties(guide, shifts, settings)
    # One column of zeros on either side: where a path enters from outside, everything before it costs nothing.
    paths = cost.new_zeros(batch, 2, len(shifts), depths, width + 2)
    inner = paths[..., 1:-1]
    # A view of the row before in which every direction's columns are shifted to where its paths go next.
    strides = list(paths.stride())
    strides[2] += 1
    before = paths.as_strided(inner.shape, strides, 0 if diagonals else 1)
    for row in range(height):
        mirrored = height - 1 - row
        present = torch.stack([cost[:, :, row], cost[:, :, mirrored]], dim=1).unsqueeze(2)
        if row == 0:
            inner.copy_(present.expand_as(inner))
        else:
            inner.copy_(_step(before, penalties[row], settings.small_step).add_(present))
        arrived = inner[:, :, 0] if len(shifts) == 1 else inner.sum(dim=2)
        total[:, :, row] += arrived[:, 0]
        total[:, :, mirrored] += arrived[:, 1]


def _step(before: Tensor, jump: Tensor, small_step: float) -> Tensor:
    """The cheapest way to every depth from (..., D, W) path costs, less the cheapest of all, which bounds the sums."""
    cheapest = before.amin(dim=-2, keepdim=True)
    way = torch.minimum(before, cheapest + jump)
    neighbour = before + small_step
    torch.minimum(way[..., 1:, :], neighbour[..., :-1, :], out=way[..., 1:, :])
    torch.minimum(way[..., :-1, :], neighbour[..., 1:, :], out=way[..., :-1, :])
    return way.sub_(cheapest)


def _jump_penalties(guide: Tensor, shifts: tuple[int, ...], settings: AggregationSettings) -> Tensor:
    """P2 of entering each pixel: (row, B, down or up, shift, 1, W). Row r of the upward paths is row H - 1 - r."""
    batch, height, width = guide.shape
    result = guide.new_zeros(height, batch, 2, len(shifts), 1, width)
    for direction, picture in enumerate((guide, guide.flip(1))):
        for index, shift in enumerate(shifts):
            # Paths of shift -1 come from the left, those of +1 from the right.
            columns = slice(max(0, -shift), width - max(0, shift))
            source = slice(max(0, shift), width - max(0, -shift))
            change = (picture[:, 1:, columns] - picture[:, :-1, source]).abs()
            penalty = settings.large_step * torch.exp(-settings.edge_falloff * change)
            result[1:, :, direction, index, 0, columns] = penalty.transpose(0, 1)
    return result.clamp_(min=1.5 * settings.small_step)
