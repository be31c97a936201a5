"""Sweep: coarse and fine levels, peaks between steps, and frames that have nothing to compare with."""

import torch

from common.refinement.dense.neighbours import candidate_views
from common.refinement.dense.peak import find_peak
from common.refinement.dense.settings import NeighbourSettings, SweepLevel, SweepSettings
from common.refinement.dense.sweep import resize, sweep_level
from common.refinement.dense.views import dense_views
from tests.support.dense_scene import dense_scene, error

FINE = SweepLevel(scale=1.0, half_range=0.15, steps=24, window=7, prior=0.0, median=1)


def sweep(scene, start, level, settings=None):
    settings = settings or SweepSettings()
    size = tuple(scene.depth.shape[-2:])
    poses = scene.refined.camera_to_world
    views = dense_views(scene.pictures, scene.refined.cameras, poses, size, [level.scale], "cpu")[level.scale]
    candidates = candidate_views(len(views), views.posed, scene.refined.tracks, 48)
    done = []
    swept = sweep_level(views, start, candidates, level, settings, NeighbourSettings(), done.append)
    assert sum(done) == len(views)
    return swept


def test_a_scale_that_is_wrong_by_a_tenth_is_found():
    scene = dense_scene()
    swept = sweep(scene, 1.1 * scene.depth, FINE)
    assert error(swept.depth, scene.depth) < 0.025
    assert ((swept.depth / scene.depth - 1).abs() < 0.03).float().mean() > 0.75


def test_the_truth_stays():
    scene = dense_scene()
    swept = sweep(scene, scene.depth, FINE)
    assert (swept.depth / scene.depth - 1).abs().median() < 0.01
    assert swept.correlation.median() > 0.7


def test_rectangles_that_are_no_multiple_of_the_level():
    scene = dense_scene(seed=4, network=(80, 112), working=(90, 120))
    level = SweepLevel(scale=0.43, half_range=0.4, steps=20, window=5, prior=0.1, median=5)
    swept = sweep(scene, 1.2 * scene.depth, level)
    assert swept.depth.shape == scene.depth.shape
    assert error(swept.depth, scene.depth) < 0.08


def test_a_finer_grid_than_the_network_s():
    scene = dense_scene()
    level = SweepLevel(scale=1.5, half_range=0.15, steps=16, window=7, prior=0.0, median=1)
    assert error(sweep(scene, 1.08 * scene.depth, level).depth, scene.depth) < 0.03


def test_peaks_lie_between_steps():
    position = torch.tensor([3.3, 5.0, 6.8])
    steps = torch.arange(12.0)
    cost = ((steps[:, None] - position) ** 2 / 100)[None, :, None]
    found, correlation = find_peak(cost, cost)
    torch.testing.assert_close(found[0, 0], position, atol=1e-4, rtol=0)
    torch.testing.assert_close(correlation[0, 0], 1 - (position.round() - position) ** 2 / 100)


def test_peaks_at_the_ends_and_in_flat_costs_stay_on_their_step():
    cost = torch.arange(8.0)[None, :, None, None].expand(1, 8, 2, 2)
    assert (find_peak(cost, cost)[0] == 0).all()
    assert (find_peak(-cost, cost)[0] == 7).all()
    flat = torch.ones(1, 2, 3, 3)
    assert (find_peak(flat, flat)[0] == 0).all()


def test_resizing_keeps_what_is_linear():
    ramp = torch.linspace(0, 1, 40).expand(1, 30, 40)
    there = resize(ramp, (15, 20))
    torch.testing.assert_close(there[0, 5, 2:-2], ramp[0, 0].reshape(20, 2).mean(dim=1)[2:-2], atol=5e-3, rtol=0)
    assert torch.equal(resize(ramp, (30, 40)), ramp)
