"""A smaller file keeps the Gaussians that the input views show."""

from __future__ import annotations

import pytest
import torch

from tests.support.gaussian_scene import gaussians_at, scene_of
from uni3r.gaussians.gaussians import Gaussians
from uni3r.scene.outputs import exported_gaussians
from uni3r.scene.pruning import blending_weights, most_important
from uni3r.scene.settings import ExportSettings


@pytest.fixture(scope="module")
def wall() -> Gaussians:
    """A dense wall at depth 2; behind it 20 large Gaussians, and 20 beside the views."""
    grid = torch.linspace(-1.6, 2.1, 40)
    x, y = torch.meshgrid(grid, grid, indexing="ij")
    front = torch.stack([x, y, torch.full_like(x, 2.0)], dim=-1).view(-1, 3)
    hidden, outside = torch.rand(20, 3) + torch.tensor([0, 0, 4.0]), torch.rand(20, 3) + torch.tensor([50.0, 0, 1.0])
    return Gaussians.merge([gaussians_at(hidden, scale=0.5), gaussians_at(front, 0.1, 0.99), gaussians_at(outside)])


def test_weights_add_up_to_what_is_drawn(wall: Gaussians) -> None:
    scene = scene_of(wall)
    drawn = scene.render(scene.cameras).alpha
    assert float(blending_weights(scene).sum()) == pytest.approx(float(drawn.sum()), rel=1e-3)


def test_what_no_view_shows_goes_first(wall: Gaussians) -> None:
    scene = scene_of(wall)
    weights = blending_weights(scene)
    shown = (weights > 0.1 * weights.max()).sum()
    assert not weights[-20:].any() and weights[:20].max() < 0.1 * weights.max()  # beside; behind, however large
    kept = most_important(scene, int(shown))
    assert kept.count == shown < wall.count / 2 and (kept.means[0, :, 2] == 2).all()
    before, after = scene.render(scene.cameras).image, scene_of(kept).render(scene.cameras).image
    assert (before - after).abs().mean() < 0.01


def test_limits_of_the_export(wall: Gaussians) -> None:
    scene = scene_of(wall)
    small = exported_gaussians(scene, ExportSettings(max_gaussians=100, sh_degree=0))
    assert small.means.shape == (1, 100, 3) and small.harmonics.shape == (1, 100, 1, 3)
    assert exported_gaussians(scene, ExportSettings(max_gaussians=10**6, sh_degree=3)).harmonics.shape[-2] == 4
    assert exported_gaussians(scene, ExportSettings()) is scene.gaussians
