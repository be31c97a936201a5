"""Floating objects and streets: reproducible, exact in depth and poses; cameras stay clear and views overlap."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch.nn import functional as F

from common.geometry.cameras import unproject_to_world
from common.rooms import room_sequence
from common.rooms.camera_path import Tilt
from common.rooms.primitives import FLOOR, OTHER, WALL
from common.rooms.worlds import WORLDS
from common.views import Views

OUTSIDE = [name for name in WORLDS if name != "rooms"]
SEEDS = range(4)


@lru_cache
def scene(world: str, seed: int) -> Views:
    return room_sequence(seed, 8, (64, 64), world=world)


def seen_again(views: Views, first: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels of a view that fall into the next picture, and how their depth there compares with what it shows."""
    world = unproject_to_world(views.depth, views.intrinsics, views.camera_to_world)[first]
    inverse = torch.linalg.inv(views.camera_to_world[first + 1])
    local = world @ inverse[:3, :3].T + inverse[:3, 3]
    pixel = local @ views.intrinsics[first + 1].T
    pixel = pixel[..., :2] / pixel[..., 2:].clamp_min(1e-6)
    height, width = views.depth.shape[1:]
    limit = torch.tensor([width - 1.0, height - 1.0])
    inside = (views.depth[first] > 0) & (local[..., 2] > 0) & (pixel >= 0).all(-1) & (pixel <= limit).all(-1)
    grid = (2 * pixel / limit - 1)[None]
    shown = F.grid_sample(views.depth[None, None, first + 1], grid, mode="nearest", align_corners=True)[0, 0]
    return inside, shown / local[..., 2]


@pytest.mark.parametrize("world", OUTSIDE)
def test_depth_and_poses_of_successive_views_agree_and_most_is_seen_again(world: str) -> None:
    for seed in SEEDS:
        views = scene(world, seed)
        for first in range(len(views.depth) - 1):
            inside, ratio = seen_again(views, first)
            assert inside.sum() > 0.5 * (views.depth[first] > 0).sum()
            assert ((ratio[inside] - 1).abs() < 0.05).float().mean() > 0.75  # the rest is hidden, or lies at an edge


@pytest.mark.parametrize("world", OUTSIDE)
def test_the_same_seed_gives_the_same_views_and_another_seed_others(world: str) -> None:
    again = room_sequence(1, 8, (64, 64), world=world)
    assert torch.equal(again.images, scene(world, 1).images) and torch.equal(again.depth, scene(world, 1).depth)
    assert not torch.equal(again.depth, scene(world, 2).depth)


@pytest.mark.parametrize(("world", "clearance"), [("objects", 0.12), ("street", 0.4)])
def test_cameras_keep_clear_of_solids(world: str, clearance: float) -> None:
    for seed in SEEDS:
        built = WORLDS[world].build(seed)
        places = scene(world, seed).camera_to_world[:, :3, 3]
        assert built.primitives.clearance(places).min() > clearance - 1e-3


@pytest.mark.parametrize("world", OUTSIDE)
def test_steps_grow_with_the_distance_and_the_setting(world: str) -> None:
    def steps(views: Views) -> torch.Tensor:
        return views.camera_to_world[:, :3, 3].diff(dim=0).norm(dim=-1).mean()

    relative = torch.stack([steps(scene(world, seed)) / scene(world, seed).depth.median() for seed in SEEDS])
    assert relative.min() > 0.01 and relative.max() < 0.3
    assert steps(room_sequence(1, 8, 16, world=world, step=(0.01, 0.02))) < steps(scene(world, 1)) / 2


def test_objects_lie_at_many_depths_and_have_no_class() -> None:
    for seed in SEEDS:
        views = scene("objects", seed)
        assert views.labels.unique().tolist() == [OTHER]
        assert views.depth.min() > 0
    spread = [torch.quantile(scene("objects", seed).depth, torch.tensor([0.05, 0.95])) for seed in SEEDS]
    assert sum(float(far / near) > 2 for near, far in spread) >= 3


def test_a_street_has_walls_and_ground_under_a_sky_without_depth() -> None:
    views = [scene("street", seed) for seed in SEEDS]
    sky = torch.cat([(view.depth == 0).flatten() for view in views])
    labels = torch.cat([view.labels.flatten() for view in views])
    assert 0.05 < sky.float().mean() < 0.6
    assert set(labels[sky].tolist()) == {OTHER}
    assert set(labels.tolist()) == {WALL, FLOOR, OTHER}
    assert (labels == WALL).float().mean() > 0.2
    heights = torch.cat([view.camera_to_world[:, 2, 3] for view in views])
    assert heights.min() > 1 and heights.max() < 7


def test_only_the_lean_of_a_tilt_counts_outside_of_rooms() -> None:
    leaning = room_sequence(1, 2, 16, world="street", tilt=Tilt(pitch=(-1.0, -0.9), lean=0.2)).camera_to_world
    assert leaning[:, 2, 2].min() > -0.5  # not turned down by a radian
