"""Losses on renderings: closed forms, masks and gradients."""

from __future__ import annotations

import pytest
import torch

from common.views import Pointmaps
from uni3r.training.losses import depth_loss, feature_loss, l1_loss, mse_loss, pixel_weights, pointmap_loss, ssim_loss


def test_colour_losses_are_means_and_do_not_clamp() -> None:
    images = torch.zeros(2, 3, 3, 16, 16)
    assert l1_loss(images + 1.5, images) == pytest.approx(1.5)
    assert mse_loss(images + 1.5, images) == pytest.approx(2.25)


def test_ssim_of_equal_images_is_perfect_and_its_gradient_is_finite() -> None:
    images = torch.rand(1, 2, 3, 24, 24)
    assert ssim_loss(images, images) == pytest.approx(0, abs=1e-5)
    rendered = torch.rand(1, 2, 3, 24, 24, requires_grad=True)
    ssim_loss(rendered, images).backward()
    assert rendered.grad.isfinite().all()
    assert rendered.grad.abs().sum() > 0


def test_feature_loss_is_one_minus_cosine_whatever_the_lengths() -> None:
    target = torch.zeros(1, 1, 2, 1, 3)
    target[0, 0, 0] = 5.0  # all point along the first channel
    features = torch.tensor([[2.0, 0.0, -0.1], [0.0, 7.0, 0.0]]).view(1, 1, 2, 1, 3)
    assert feature_loss(features, target) == pytest.approx((0 + 1 + 2) / 3)
    only_first = torch.tensor([[[[True, False, False]]]])
    assert feature_loss(features, target, only_first) == pytest.approx(0)


def test_classes_are_weighed_in_the_feature_loss() -> None:
    labels = torch.tensor([[[[0, 0, 1, 255]]]])
    weights = pixel_weights(labels, torch.tensor([0.5, 3.0]))
    assert weights.flatten().tolist() == [0.5, 0.5, 3.0, 0.0]
    target = torch.zeros(1, 1, 2, 1, 4)
    target[0, 0, 0] = 1.0
    features = torch.tensor([[1.0, 1.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0]]).view(1, 1, 2, 1, 4)  # distances 0, 0, 1, 2
    assert feature_loss(features, target, None, weights) == pytest.approx(3 / 4)
    valid = torch.tensor([[[[True, False, True, True]]]])
    assert feature_loss(features, target, valid, weights) == pytest.approx(3 / 3.5)
    assert feature_loss(features, target, ~torch.ones_like(valid), weights) == 0


def test_invalid_pixels_reach_neither_value_nor_gradient() -> None:
    points = torch.rand(1, 1, 4, 4, 3, requires_grad=True)
    truth = points.detach() + torch.tensor([0.0, 0.0, 2.0])
    valid = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    valid[..., 0] = False
    truth[..., 0, :] = torch.nan
    predicted = Pointmaps(points, torch.full((1, 1, 4, 4), 1.5))
    loss, distance = pointmap_loss(predicted, truth, valid, alpha=None)
    loss.backward()
    assert loss.detach() == pytest.approx(2.0)
    assert distance == pytest.approx(2.0)
    assert points.grad.isfinite().all()
    assert (points.grad[..., 0, :] == 0).all()
    assert pointmap_loss(predicted, truth, torch.zeros_like(valid))[0] == 0


def test_confidence_pays_where_the_error_is_small() -> None:
    truth, valid = torch.zeros(1, 1, 2, 2, 3), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    confidence = torch.full((1, 1, 2, 2), 2.0, requires_grad=True)
    for error, sign in ((0.01, -1), (1.0, 1)):
        loss, _ = pointmap_loss(Pointmaps(truth + error, confidence), truth, valid, alpha=0.2)
        (gradient,) = torch.autograd.grad(loss, confidence)
        assert (gradient.sign() == sign).all()


def test_depth_is_divided_by_alpha_and_compared_where_there_is_something() -> None:
    truth = torch.full((1, 1, 2, 2), 2.0)
    truth[..., 0, 0] = 0  # no truth
    alpha = torch.full_like(truth, 0.8)
    alpha[..., 0, 1] = 0.2  # almost air
    depth = torch.full_like(truth, 0.8 * 2.2)
    assert depth_loss(depth, alpha, truth) == pytest.approx(0.1, rel=1e-4)
