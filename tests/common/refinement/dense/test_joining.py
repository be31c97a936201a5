"""Joining: what is confirmed stays, what is not takes the correction of its surroundings."""

import torch

from common.refinement.dense.filters import gaussian_filter, guided_filter, mean_filter, median_filter, window_sums
from common.refinement.dense.joining import join_depth, trust
from common.refinement.dense.settings import JoiningSettings

SETTINGS = JoiningSettings()


def setting(size=112):
    """Two surfaces, told apart by brightness: the left one must come 20 % nearer, the right one is right already."""
    prior = torch.full((1, size, size), 2.0)
    grey = torch.full_like(prior, 0.2)
    grey[..., size // 2 :] = 0.8
    swept = prior.clone()
    swept[..., : size // 2] *= 0.8
    return prior, swept, grey


def test_confirmed_pixels_keep_their_depth():
    prior, swept, grey = setting()
    keep = torch.rand(prior.shape, generator=torch.Generator().manual_seed(0)) > 0.5
    joined = join_depth(prior, swept, keep.float(), keep, grey, SETTINGS)
    assert torch.equal(joined[keep], swept[keep])


def test_holes_follow_the_picture():
    """A hole over the edge between the surfaces takes each side's own correction."""
    prior, swept, grey = setting()
    keep = torch.ones_like(prior, dtype=torch.bool)
    keep[:, 30:80, 46:66] = False
    noise = swept.clone()
    noise[~keep] = 5.0  # whatever the sweep found there
    joined = join_depth(prior, noise, keep.float(), keep, grey, SETTINGS)
    torch.testing.assert_close(joined[:, 30:80, 46:52], swept[:, 30:80, 46:52], rtol=0.05, atol=0.0)
    torch.testing.assert_close(joined[:, 30:80, 60:66], swept[:, 30:80, 60:66], rtol=0.05, atol=0.0)


def test_without_any_trust_the_prior_remains():
    prior, swept, grey = setting()
    nothing = torch.zeros_like(prior)
    assert torch.equal(join_depth(prior, swept, nothing, nothing > 0, grey, SETTINGS), prior)


def test_trust_grows_with_views_and_correlation():
    agree = torch.tensor([[[0, 1, 2, 4, 9]]], dtype=torch.uint8)
    weights = trust(agree, torch.full((1, 1, 5), 0.9), min_views=2)[0, 0].tolist()
    assert weights[:2] == [0.0, 0.0] and 0 < weights[2] < weights[3] == weights[4] == 1.0
    assert trust(agree, torch.zeros(1, 1, 5), min_views=2)[0, 0, 4] < 0.2


def test_windows_sum_what_lies_in_them():
    values = torch.rand(2, 13, 17)
    for window in (1, 3, 5, 7, 9):
        expected = torch.nn.functional.avg_pool2d(values, window, stride=1) * window**2
        torch.testing.assert_close(window_sums(values, window), expected)


def test_filters_keep_constants_and_slopes():
    ramp = torch.linspace(0, 1, 60).expand(1, 50, 60).contiguous()
    flat = torch.full((1, 50, 60), 3.0)
    for filtered in (
        mean_filter(flat, 7),
        mean_filter(flat, 200),
        gaussian_filter(flat, 4.0),
        gaussian_filter(flat, 90.0),
        median_filter(flat, 5),
        guided_filter(flat, ramp, 9, 1e-3),
    ):
        torch.testing.assert_close(filtered, flat)
    torch.testing.assert_close(median_filter(ramp, 5)[..., 2:-2], ramp[..., 2:-2])
    torch.testing.assert_close(gaussian_filter(ramp, 2.0)[..., 10:-10], ramp[..., 10:-10])


def test_a_weighted_blur_ignores_what_has_no_weight():
    values = torch.full((1, 40, 40), 2.0)
    weight = torch.ones_like(values)
    values[:, 10:15, 10:15], weight[:, 10:15, 10:15] = torch.nan, 0.0
    torch.testing.assert_close(gaussian_filter(values, 3.0, weight), torch.full((1, 40, 40), 2.0))


def test_a_median_drops_single_outliers():
    values = torch.zeros(1, 20, 20)
    values[0, 5, 5], values[0, 12, 3] = 9.0, -9.0
    assert not median_filter(values, 3).any()
