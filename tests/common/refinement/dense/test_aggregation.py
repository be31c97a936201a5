"""Semi-global aggregation against a plain, slow reference."""

import itertools

import pytest
import torch

from common.refinement.dense.aggregation import aggregate
from common.refinement.dense.settings import AggregationSettings

SETTINGS = AggregationSettings(small_step=0.2, large_step=1.2, edge_falloff=25.0)


def slow_aggregate(cost, guide, settings):
    """Equation 13 of the paper, pixel by pixel, with the cheapest predecessor taken off."""
    depths, height, width = cost.shape
    total = torch.zeros_like(cost)
    for dy, dx in itertools.product((-1, 0, 1), (-1, 0, 1)):
        if dy == dx == 0:
            continue
        path = torch.zeros_like(cost)
        rows = range(height) if dy >= 0 else range(height - 1, -1, -1)
        columns = range(width) if dx >= 0 else range(width - 1, -1, -1)
        for y, x in itertools.product(rows, columns):
            py, px = y - dy, x - dx
            path[:, y, x] = cost[:, y, x]
            if not (0 <= py < height and 0 <= px < width):
                continue
            change = abs(float(guide[y, x] - guide[py, px]))
            jump = settings.large_step * torch.exp(torch.tensor(-settings.edge_falloff * change))
            jump = max(float(jump), 1.5 * settings.small_step)
            before = path[:, py, px]
            for d in range(depths):
                ways = [before[d], before.min() + jump]
                ways += [before[n] + settings.small_step for n in (d - 1, d + 1) if 0 <= n < depths]
                path[d, y, x] += min(float(way) for way in ways) - float(before.min())
        total += path
    return total / 8


@pytest.mark.parametrize("shape", [(5, 6, 7), (3, 4, 9), (4, 1, 3), (2, 5, 1)])
def test_equals_the_plain_recursion(shape):
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(2, *shape, generator=generator)
    guide = torch.rand(2, *shape[1:], generator=generator)
    fast = aggregate(cost, guide, SETTINGS)
    for index in range(2):
        torch.testing.assert_close(fast[index], slow_aggregate(cost[index], guide[index], SETTINGS))


def test_a_flat_region_takes_the_depth_of_its_surroundings():
    """Where no depth is better than another, the frame of textured pixels decides."""
    cost = torch.full((1, 8, 20, 20), 1.0)
    cost[:, 3] = 0.2
    cost[:, :, 5:15, 5:15] = 1.0
    chosen = aggregate(cost, torch.full((1, 20, 20), 0.5)).argmin(dim=1)
    assert (chosen == 3).all()


def test_a_depth_jump_stays_where_the_picture_has_an_edge():
    """The left half prefers one depth, the right another; noise in between does not move the border."""
    generator = torch.Generator().manual_seed(1)
    cost = 1 + 0.3 * torch.rand(1, 12, 24, 24, generator=generator)
    cost[:, 2, :, :12] -= 0.5
    cost[:, 9, :, 12:] -= 0.5
    guide = torch.zeros(1, 24, 24)
    guide[..., 12:] = 1.0
    chosen = aggregate(cost, guide).argmin(dim=1)[0]
    assert (chosen[:, :12] == 2).all()
    assert (chosen[:, 12:] == 9).all()


def test_input_is_left_as_it_was():
    cost = torch.rand(1, 4, 6, 6)
    copy = cost.clone()
    aggregate(cost, torch.zeros(1, 6, 6))
    assert torch.equal(cost, copy)
