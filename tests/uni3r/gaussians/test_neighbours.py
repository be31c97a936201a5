"""Neighbour distances: both searches are exact, also where points coincide or lie far out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uni3r.gaussians.neighbours import _by_blocks, _by_tree, mean_squared_neighbour_distance


def _brute_force(points: Tensor) -> Tensor:
    squared = (points[:, None].double() - points[None].double()).square().sum(-1)
    squared.fill_diagonal_(torch.inf)
    return squared.sort(dim=1).values[:, :3].float()


def _cloud(count: int) -> Tensor:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    points[: count // 10] *= 300  # far out
    points[count // 2 : count // 2 + count // 8] = points[0]  # one place
    return points


@pytest.mark.parametrize("search", [_by_tree, _by_blocks], ids=["tree", "blocks"])
@pytest.mark.parametrize("count", [4, 31, 32, 33, 700])
def test_exact(search, count: int) -> None:
    points = _cloud(count)
    torch.testing.assert_close(search(points), _brute_force(points), rtol=1e-5, atol=1e-10)


def test_rows_are_compared_in_parts_when_memory_is_short(monkeypatch) -> None:
    points = _cloud(900)
    monkeypatch.setattr("uni3r.gaussians.neighbours._PAIRS_AT_ONCE", 5000)
    torch.testing.assert_close(_by_blocks(points), _brute_force(points), rtol=1e-5, atol=1e-10)


def test_a_grid_of_unit_spacing_in_closed_form() -> None:
    grid = torch.cartesian_prod(*[torch.arange(5.0)] * 3)[None]
    assert torch.equal(mean_squared_neighbour_distance(grid), torch.ones(1, 125))


def test_samples_of_a_batch_do_not_see_each_other_and_no_gradient_passes() -> None:
    clouds = torch.stack([_cloud(50), _cloud(50) + 1]).requires_grad_()
    distances = mean_squared_neighbour_distance(clouds)
    assert not distances.requires_grad
    torch.testing.assert_close(distances[1], mean_squared_neighbour_distance(clouds[1:])[0])


def test_what_cannot_be_searched() -> None:
    with pytest.raises(ValueError, match="at least 4 points, got 3"):
        mean_squared_neighbour_distance(torch.zeros(1, 3, 3))
    with pytest.raises(ValueError, match="not finite"):
        mean_squared_neighbour_distance(torch.full((1, 9, 3), torch.nan))
