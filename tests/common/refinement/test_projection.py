"""Rays and projection of a camera with one radial term."""

import pytest
import torch

from common.geometry.cameras import pixel_grid
from common.refinement.projection import pixel_unit, project, rays, working_rays
from common.refinement.types import Camera


@pytest.mark.parametrize("k1", [0.0, 0.2, -0.15])
def test_projection_undoes_rays(k1):
    camera = Camera(300.0, 310.0, 159.5, 119.5, (240, 320), k1)
    pixels = pixel_grid((240, 320), dtype=torch.float64)
    depth = 1 + torch.rand(240, 320, 1, dtype=torch.float64)

    assert torch.allclose(project(camera, working_rays(camera, pixels) * depth), pixels, atol=1e-6)


def test_a_positive_term_pushes_points_outwards():
    straight, bent = (Camera(300.0, 300.0, 0.0, 0.0, (240, 320), k1) for k1 in (0.0, 0.1))
    point = torch.tensor([0.5, 0.0, 1.0])

    assert project(bent, point)[0] == pytest.approx(float(project(straight, point)[0]) * (1 + 0.1 * 0.25))


def test_rays_beyond_the_fold_of_a_negative_term_are_finite():
    camera = Camera(100.0, 100.0, 159.5, 119.5, (240, 320), -0.5)

    assert working_rays(camera, pixel_grid((240, 320))).isfinite().all()


def test_rays_of_the_network_grid_go_through_its_pixel_centres():
    camera = Camera(300.0, 300.0, 159.5, 119.5, (240, 320))
    half = torch.tensor([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]], dtype=torch.float64)

    grid = rays(camera, half, (120, 160))

    assert grid.shape == (120, 160, 3)
    # network pixel (0, 0) covers working pixels 0 and 1, so its centre is at (0.5, 0.5)
    assert torch.allclose(grid[0, 0], torch.tensor([-159 / 300, -119 / 300, 1.0]))
    assert torch.allclose(grid[0, 0, :2], -grid[-1, -1, :2])


def test_thresholds_in_pixels_grow_with_the_picture():
    small, usual, large = (pixel_unit(Camera(1, 1, 0, 0, size)) for size in ((224, 224), (480, 640), (768, 1024)))

    assert small < usual == 1 < large
