"""Consistency: true depth is confirmed, wrong depth and the sides of jumps are not."""

from dataclasses import replace

import pytest
import torch

from common.refinement.dense.consistency import (
    Agreement,
    beside_jump,
    confirmed_pixels,
    confirmed_share,
    count_agreement,
    required_parallax,
)
from common.refinement.dense.settings import ConsistencySettings
from common.refinement.dense.views import dense_views
from tests.support.dense_scene import dense_scene

SETTINGS = ConsistencySettings()


@pytest.fixture(scope="module")
def scene():
    return dense_scene()


def seen_by(scene, depth):
    refined = scene.refined
    return dense_views(scene.pictures, refined.cameras, refined.camera_to_world, tuple(depth.shape[-2:]), [1.0], "cpu")[
        1.0
    ]


def count(scene, depth, settings=SETTINGS):
    views = seen_by(scene, depth)
    others = [torch.tensor([other for other in range(len(depth)) if other != frame]) for frame in range(len(depth))]
    return count_agreement(views, depth, others, settings)


def test_true_depth_is_confirmed_wherever_others_see_it(scene):
    found = count(scene, scene.depth)
    assert (found.agree[found.seen >= 3] >= 2).float().mean() > 0.98
    assert (found.agree <= found.seen).float().mean() > 0.999
    ones = torch.ones_like(scene.depth)
    assert confirmed_pixels(scene.depth, scene.depth, ones, found, 4.0, SETTINGS).float().mean() > 0.7


def test_counts_without_angles_are_the_same_counts(scene):
    views = seen_by(scene, scene.depth)
    others = [
        torch.arange(len(scene.depth))[torch.arange(len(scene.depth)) != frame] for frame in range(len(scene.depth))
    ]
    full, counts = (count_agreement(views, scene.depth, others, SETTINGS, angles=angles) for angles in (True, False))
    assert torch.equal(counts.agree, full.agree) and torch.equal(counts.seen, full.seen)
    assert full.parallax.any() and not counts.parallax.any()


def test_a_frame_with_wrong_depth_is_not_confirmed(scene):
    wrong = scene.depth.clone()
    wrong[3] *= 1.1
    agree = count(scene, wrong).agree
    assert (agree[3] >= 2).float().mean() < 0.05
    assert (agree[2] >= 2).float().mean() > 0.9  # it still has the others


def test_the_tolerance_is_relative(scene):
    """Depths that are 1 % off agree within 3 %, and in a world of another unit too."""
    noisy = scene.depth * torch.exp(0.01 * torch.randn(scene.depth.shape, generator=torch.Generator().manual_seed(0)))
    agree = count(scene, noisy).agree
    strict = count(scene, noisy, replace(SETTINGS, tolerance=0.005)).agree
    assert (agree >= 2).float().mean() > 0.9
    assert strict.float().mean() < 0.6 * agree.float().mean()


def test_pixels_beside_a_jump_are_shaved():
    depth = torch.full((1, 224, 224), 2.0)
    depth[..., 100:] = 3.0
    near = beside_jump(depth, SETTINGS)
    assert near[0, 50].nonzero()[:, 0].tolist() == list(range(97, 103))
    everywhere = torch.ones_like(depth)
    confirmed = confirmed_pixels(depth, depth, everywhere, said(5 * everywhere), 4.0, SETTINGS)
    assert torch.equal(confirmed, ~near)


def test_a_world_that_all_views_bend_alike_is_not_confirmed_by_neighbours_a_step_apart(scene):
    """Pictures from nearly one place agree on the depth of a prediction whatever it is."""
    together = scene.refined.camera_to_world.clone()
    together[:, :3, 3] = together[:1, :3, 3] + 0.05 * (together[:, :3, 3] - together[:1, :3, 3])
    close = replace(scene, refined=replace(scene.refined, camera_to_world=together))
    flat = torch.full_like(scene.depth, float(scene.depth.median()))
    found = count(close, flat)
    assert (found.agree >= 2).float().mean() > 0.5
    assert found.parallax.max() < SETTINGS.min_parallax
    assert not confirmed_pixels(flat, flat, torch.ones_like(flat), found, SETTINGS.min_parallax, SETTINGS).any()


def test_a_camera_that_hardly_moves_is_asked_for_half_of_what_it_reaches():
    """Else a film of one picture, with a hand that shakes, would have no points at all."""
    parallax = torch.full((2, 8, 8), 12.0, dtype=torch.float16)
    parallax[0, 0] = 0.0  # nobody agrees here
    assert required_parallax(parallax, SETTINGS) == SETTINGS.min_parallax
    assert required_parallax(parallax / 8, SETTINGS) == pytest.approx(0.75)
    assert required_parallax(0 * parallax, SETTINGS) == SETTINGS.min_parallax


def test_the_angle_is_that_at_the_point(scene):
    """Checked against the directions to both cameras, at one pixel."""
    found = count(scene, scene.depth)
    others = scene.refined.camera_to_world[:, :3, 3].double()
    row, column = (found.agree[0] == len(scene.depth) - 1).nonzero()[0].tolist()  # a point that all of them see
    views = seen_by(scene, scene.depth)
    pose = scene.refined.camera_to_world[0].double()
    point = pose[:3, :3] @ (views.rays(0)[row, column] * scene.depth[0, row, column]).double() + pose[:3, 3]
    away = torch.nn.functional.normalize(point - others, dim=-1)
    angles = torch.rad2deg(torch.acos((away @ away[0]).clamp(-1, 1)))
    assert float(found.parallax[0, row, column]) == pytest.approx(float(angles.max()), rel=1e-3)


def said(agree, seen=None, parallax=10.0):
    """Evidence of neighbours about pixels."""
    return Agreement(agree, agree if seen is None else seen, torch.full_like(agree, parallax, dtype=torch.float16))


def one_pixel(prior=2.0, correlation=0.9, agree=2, seen=4, parallax=10.0):
    """Is a pixel at 2 m confirmed?"""
    pixel = torch.ones(1, 1, 1)
    found = said(agree * pixel, seen * pixel, parallax)
    return bool(confirmed_pixels(2.0 * pixel, prior * pixel, correlation * pixel, found, 4.0, SETTINGS))


def test_what_a_confirmed_pixel_needs():
    assert one_pixel()
    assert not one_pixel(agree=1)
    assert not one_pixel(seen=5)  # most of those who should see it do not
    assert not one_pixel(correlation=0.3)  # a blank wall
    assert not one_pixel(parallax=3.0)  # all of them stand in one place
    assert not one_pixel(prior=1.5) and one_pixel(prior=1.5, agree=4)  # far from the prediction: more views


def test_slopes_are_no_jumps():
    floor = 1.5 / torch.linspace(0.3, 1.0, 224)[:, None].expand(1, 224, 224)
    assert not beside_jump(floor, SETTINGS).any()


def test_share_of_confirmed_pixels_counts_posed_frames():
    confirmed = torch.zeros(3, 4, 4, dtype=torch.bool)
    confirmed[0] = True
    assert confirmed_share(confirmed, torch.tensor([True, True, False])) == 0.5
    assert confirmed_share(confirmed, torch.zeros(3, dtype=torch.bool)) == 0.0
