"""Matching cost: lowest at the true depth, whatever the exposure, the lens and the chunks."""

from dataclasses import replace

import pytest
import torch

from common.refinement.dense.cost_volume import level_steps, matching_cost
from common.refinement.dense.settings import SweepLevel, SweepSettings
from common.refinement.dense.views import dense_views
from common.refinement.projection import working_rays
from tests.support.dense_scene import dense_scene

LEVEL = SweepLevel(scale=1.0, half_range=0.3, steps=31, window=7, prior=0.0, median=1)
SETTINGS = SweepSettings()
NEIGHBOURS = torch.tensor([0, 1, 5, 6])


@pytest.fixture(scope="module")
def scene():
    return dense_scene()


def cost_of(scene, pictures=None, cameras=None, settings=SETTINGS, base=None):
    views = dense_views(
        pictures or scene.pictures,
        cameras or scene.refined.cameras,
        scene.refined.camera_to_world,
        (112, 112),
        [1.0],
        "cpu",
    )[1.0]
    return matching_cost(views, 3, NEIGHBOURS, scene.depth[3] if base is None else base, LEVEL, settings)


def share_at_truth(cost):
    """Share of pixels whose cheapest depth is within two steps (4 %) of the truth, which is the middle."""
    return float(((cost.argmin(dim=0) - LEVEL.steps // 2).abs() <= 2).float().mean())


def test_the_true_depth_is_the_cheapest(scene):
    cost = cost_of(scene)
    assert cost.shape == (31, 112, 112)
    assert share_at_truth(cost) > 0.6  # single windows; aggregation does the rest
    assert cost[15].median() < 0.3


def test_steps_are_factors_of_depth(scene):
    """Searching around a depth that is wrong by three steps moves the minimum by three steps."""
    steps = level_steps(LEVEL)
    moved = cost_of(scene, base=scene.depth[3] * torch.exp(steps[12]))
    near = (moved.argmin(dim=0) - 18).abs() <= 2
    assert near.float().mean() > 0.6


def test_exposure_does_not_matter(scene):
    """Correlation is blind to gain and offset of a picture."""
    darker = [
        replace(picture, image=(picture.image * (0.6 if index % 2 else 0.9) + 20).to(torch.uint8))
        for index, picture in enumerate(scene.pictures)
    ]
    plain, changed = cost_of(scene), cost_of(scene, darker)
    assert abs(share_at_truth(plain) - share_at_truth(changed)) < 0.05


@pytest.mark.parametrize("chunk", [1, 50_000, 1 << 24])
def test_chunks_change_memory_only(scene, chunk):
    assert torch.equal(cost_of(scene), cost_of(scene, settings=replace(SETTINGS, chunk_elements=chunk)))


def test_what_no_neighbour_sees_costs_the_same_everywhere(scene):
    away = scene.refined.camera_to_world.clone()
    away[:3, :3, :3] = away[:3, :3, :3] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    views = dense_views(scene.pictures, scene.refined.cameras, away, (112, 112), [1.0], "cpu")[1.0]
    cost = matching_cost(views, 3, torch.tensor([0, 1, 2]), scene.depth[3], LEVEL, SETTINGS)
    assert torch.equal(cost, torch.ones_like(cost))


def test_radial_distortion_is_followed(scene):
    """Pictures of a lens with k1 = -0.15: right with the true model, much worse without."""
    camera = replace(scene.refined.cameras[0], k1=-0.15)
    pictures = [replace(picture, image=distort(picture.image, camera)) for picture in scene.pictures]
    views = dense_views(pictures, [camera], scene.refined.camera_to_world, (112, 112), [1.0], "cpu")[1.0]
    # The reference's pixels look elsewhere now: its true depth is sampled along the new rays.
    base = sample_depth(scene.depth[3], views.rays(3), scene.prediction.intrinsics)
    right = matching_cost(views, 3, NEIGHBOURS, base, LEVEL, SETTINGS)
    ignored = replace(views, lens=views.lens * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]))
    wrong = matching_cost(ignored, 3, NEIGHBOURS, base, LEVEL, SETTINGS)
    assert share_at_truth(right) > 0.55
    assert share_at_truth(right) > share_at_truth(wrong) + 0.1


def distort(image, camera):
    """A pinhole picture as a lens with a radial term shows it, by bilinear sampling."""
    height, width = camera.size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rays = working_rays(camera, torch.stack([x, y], dim=-1)).float()
    xy = rays[..., :2] * torch.tensor([camera.fx, camera.fy]) + torch.tensor([camera.cx, camera.cy])
    grid = (2 * xy + 1) / torch.tensor([width, height]) - 1
    sampled = torch.nn.functional.grid_sample(
        image[None].float(), grid[None], padding_mode="border", align_corners=False
    )
    return sampled[0].round().to(torch.uint8)


def sample_depth(depth, rays, intrinsics):
    """Nearest true depth along rays; z-depth does not depend on the lens."""
    x = (rays[..., 0] * intrinsics[0, 0] + intrinsics[0, 2]).round().long().clamp(0, depth.shape[1] - 1)
    y = (rays[..., 1] * intrinsics[1, 1] + intrinsics[1, 2]).round().long().clamp(0, depth.shape[0] - 1)
    return depth[y, x]
