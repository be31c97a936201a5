"""Depth grid: a smooth factor per frame from exact tracks."""

from dataclasses import replace

import pytest
import torch

from common.refinement.dense.depth_grid import (
    correct_depth,
    fill_invalid,
    fit_grid,
    node_counts,
    smooth_depth,
    track_depth,
)
from common.refinement.dense.settings import DepthGridSettings
from common.refinement.types import Tracks
from tests.support.dense_scene import dense_scene, error, perturb, refined_cameras

SETTINGS = DepthGridSettings()


@pytest.fixture(scope="module")
def scene():
    return dense_scene()


def maps(scene):
    return torch.stack([picture.network_from_working for picture in scene.pictures])


def pixels_and_wave(count, size=(96, 160), seed=0):
    """Random pixels and a slow wave of log ratios there and everywhere."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 2, generator=generator) * torch.tensor([size[1] - 1.0, size[0] - 1.0])
    y = torch.arange(size[0])[:, None] / size[0]
    x = torch.arange(size[1]) / size[1]
    surface = 0.5 + 0.3 * x - 0.2 * y + 0.1 * torch.sin(3 * x + 2 * y)
    at = pixels.round().long()
    return pixels, surface[at[:, 1], at[:, 0]], surface


def test_a_slow_wave_is_found_from_scattered_ratios():
    pixels, ratios, surface = pixels_and_wave(400)
    assert (fit_grid(pixels, ratios, (96, 160), SETTINGS) - surface).abs().mean() < 0.02


def test_a_third_of_wrong_tracks_does_not_matter():
    pixels, ratios, surface = pixels_and_wave(600)
    ratios[::3] += torch.linspace(-1.5, 2.5, len(ratios[::3]))
    assert (fit_grid(pixels, ratios, (96, 160), SETTINGS) - surface).abs().mean() < 0.02


def test_far_from_all_tracks_the_correction_stays_near_the_median():
    pixels, ratios, _ = pixels_and_wave(300)
    left = pixels[:, 0] < 40
    fitted = fit_grid(pixels[left], ratios[left], (96, 160), SETTINGS)
    assert (fitted[:, 100:] - ratios[left].median()).abs().max() < 0.3


def test_nodes_follow_the_shape_of_the_picture():
    assert node_counts((224, 224), 7) == (7, 7)
    assert node_counts((224, 448), 7) == (7, 13)
    assert node_counts((512, 288), 7) == (12, 7)


def test_scales_and_waves_of_a_room_are_corrected(scene):
    depth = scene.prediction.depth
    corrected = correct_depth(depth, scene.prediction.valid, scene.refined, maps(scene), SETTINGS)
    assert error(depth, scene.depth) > 0.2
    smooth = smooth_depth(corrected, SETTINGS)
    assert error(smooth, scene.depth) < 0.04
    assert error(smooth, scene.depth) < error(corrected, scene.depth)


def test_track_depth_is_the_depth_at_the_pixel(scene):
    size = tuple(scene.depth.shape[-2:])
    frame, pixel, depth = track_depth(scene.refined, maps(scene), size)
    x, y = pixel.round().long().unbind(dim=-1)
    assert ((depth / scene.depth[frame, y, x] - 1).abs() < 0.021).all()
    assert len(frame) > 300


def test_a_frame_without_tracks_is_scaled_like_the_others(scene):
    tracks = scene.refined.tracks
    keep = tracks.frame != 1
    fewer = Tracks(tracks.point, tracks.frame[keep], tracks.xy[keep], tracks.point_index[keep])
    depth = 0.5 * scene.depth  # all frames half as deep as the world
    corrected = correct_depth(
        depth, scene.prediction.valid, replace(scene.refined, tracks=fewer), maps(scene), SETTINGS
    )
    torch.testing.assert_close(corrected[1], scene.depth[1], rtol=0.03, atol=0.0)


def test_known_scales_serve_where_there_is_no_track(scene):
    refined = refined_cameras(scene.refined.cameras, scene.refined.camera_to_world, Tracks.empty())
    refined.depth_scale[:] = 2.0
    corrected = correct_depth(0.5 * scene.depth, scene.prediction.valid, refined, maps(scene), SETTINGS)
    torch.testing.assert_close(corrected, scene.depth)


def test_invalid_pixels_take_the_depth_around_them():
    depth = torch.full((2, 40, 50), 3.0)
    usable = torch.ones_like(depth, dtype=torch.bool)
    usable[0, 10:20, 10:20] = False
    usable[1] = False
    depth[~usable] = torch.nan
    filled = fill_invalid(depth, usable)
    torch.testing.assert_close(filled[0], torch.full((40, 50), 3.0).log())
    assert torch.equal(filled[1], torch.zeros(40, 50))


def test_blur_hides_steps_and_keeps_slopes():
    truth = torch.linspace(1, 3, 224).expand(1, 224, 224)
    stepped = perturb(truth, 1.0) / perturb(torch.ones_like(truth), 1.0).mean()
    smooth = smooth_depth(stepped, SETTINGS)
    step = (smooth.log()[..., 1:] - smooth.log()[..., :-1]).abs().max()
    assert step < 0.3 * (stepped.log()[..., 1:] - stepped.log()[..., :-1]).abs().max()
    torch.testing.assert_close(smooth_depth(truth, SETTINGS)[..., 40:-40], truth[..., 40:-40], rtol=0.01, atol=0.0)
