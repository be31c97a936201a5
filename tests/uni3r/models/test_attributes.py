"""Attributes to Gaussians: the published values and gradients, and the rules of the small recipe."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from common.heads.activations import CONFIDENCE_ACTIVATIONS, activate_points
from tests.support.parity import assert_close
from tests.support.uni3r_parity import vectors
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.neighbours import mean_squared_neighbour_distance
from uni3r.gaussians.spherical_harmonics import CONSTANT
from uni3r.models.attributes import AttributeSettings, gaussians_from_attributes

GROUPS = (3, 4, 1, 48, 64, 3)


def _published_layout(values: Tensor, views: int, size: tuple[int, int]) -> Tensor:
    """(B, V * H * W, ..) to (V, B, H, W, ..)."""
    return values.unflatten(1, (views, *size)).transpose(0, 1)


def _published_loss(gaussians: Gaussians, views: int, size: tuple[int, int]) -> Tensor:
    tensors = [gaussians.scales, gaussians.rotations, gaussians.opacities[..., None]]
    tensors += [gaussians.harmonics, gaussians.features, gaussians.means]
    total = torch.zeros(())
    for tensor in tensors:
        flat = _published_layout(tensor, views, size).flatten()
        total = total + (flat * (0.37 * torch.arange(len(flat))).cos()).mean()
    return total


def test_published_gaussians_and_gradients() -> None:
    given = vectors("gaussian_head")
    raw = given["in.gs_attrs"].requires_grad_()
    points = given["in.world_points"].requires_grad_()
    residual = given["in.lseg_features"].requires_grad_()
    batch, views, _, *size = raw.shape
    gaussians = gaussians_from_attributes(
        raw.movedim(2, -1),
        points,
        AttributeSettings(),
        feature_residual=residual.unflatten(0, (views, batch)).transpose(0, 1),
    )
    for ours, published in {
        "scales": "scales",
        "rotations": "rotations",
        "opacities": "opacities",
        "harmonics": "sh_coeffs",
        "features": "gs_feats",
        "means": "means",
    }.items():
        value = _published_layout(getattr(gaussians, ours), views, size)
        expected = given[f"out.{published}"]
        assert_close(value.reshape(expected.shape), expected, 1e-5)

    loss = _published_loss(gaussians, views, size)
    assert_close(loss[None], given["out.loss"], 1e-5)
    loss.backward()
    for mine, expected in zip(raw.grad.split(GROUPS, 2), given["grad.gs_attrs"].split(GROUPS, 2), strict=True):
        assert_close(mine, expected, 1e-4)
    assert_close(points.grad, given["grad.world_points"], 1e-4)
    assert_close(residual.grad, given["grad.lseg_features"], 1e-4)


def test_published_neighbour_distances() -> None:
    given = vectors("gaussian_head")
    found = mean_squared_neighbour_distance(given["in.world_points"].flatten(1, 3))
    torch.testing.assert_close(found, given["out.knn_mean_sq_dist"], rtol=1e-4, atol=1e-12)


def test_published_covariances_for_both_orders_of_the_quaternion() -> None:
    given = vectors("covariance_sh")
    for order, quaternions in (
        ("wxyz", given["in.quaternions"]),
        ("xyzw", given["in.quaternions"][:, [3, 0, 1, 2]]),
    ):
        empty = torch.zeros(len(quaternions), 1, 3)
        gaussians = Gaussians(empty[:, 0], given["in.scales"], quaternions, empty[:, 0, 0], empty)
        assert_close(gaussians.covariances(), given[f"out.covariance_{order}"], 1e-5)


def test_published_activations() -> None:
    given = vectors("activations")
    scalar = given["in.scalar"]
    torch.testing.assert_close(scalar.sign() * scalar.abs().expm1(), given["out.inv_log"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(CONFIDENCE_ACTIVATIONS["expp1"](scalar), given["out.expp1"], rtol=1e-6, atol=0)
    maps = given["in.map"].movedim(1, -1)
    for ours, published in {"exp": "norm_exp", "inv_log": "inv_log", "xy_inv_log": "xy_inv_log"}.items():
        torch.testing.assert_close(
            activate_points(maps[..., :3], ours), given[f"out.map_{published}"], rtol=1e-6, atol=1e-6
        )


def _random(settings: AttributeSettings, **more) -> tuple[Gaussians, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(1, 2, 4, 5, settings.channels, generator=generator)
    points = torch.randn(1, 2, 4, 5, 3, generator=generator)
    images = torch.rand(1, 2, 3, 4, 5, generator=generator) * 2 - 1
    return gaussians_from_attributes(raw, points, settings, images), raw, images


def test_a_colour_from_the_image_is_the_pixel_plus_a_correction() -> None:
    settings = AttributeSettings(feature_channels=0, sh_degree=0, colour="image")
    gaussians, raw, images = _random(settings)
    assert gaussians.features is None
    correction = raw[..., 8:11].flatten(1, 3)
    pixels = images.movedim(2, -1).flatten(1, 3)
    torch.testing.assert_close(gaussians.harmonics[:, :, 0] * CONSTANT + 0.5, (pixels + 1) / 2 + correction * CONSTANT)


def test_softplus_scales_have_a_gradient_everywhere_and_follow_the_scene() -> None:
    settings = AttributeSettings(scale="softplus")
    raw = torch.full((1, 1, 3, 4, settings.channels), -5.0, requires_grad=True)
    points = torch.randn(1, 1, 3, 4, 3)
    scales = gaussians_from_attributes(raw, points, settings).scales
    scales.sum().backward()
    assert (raw.grad[..., :3] > 0).all()
    larger = gaussians_from_attributes(raw, 7 * points, settings).scales
    torch.testing.assert_close(larger, 7 * scales)
    # The published rule is on its floor here, where nothing can be learnt.
    published = torch.full((1, 1, 3, 4, 123), -5.0, requires_grad=True)
    gaussians_from_attributes(published, points, AttributeSettings()).scales.sum().backward()
    assert not published.grad[..., :3].any()


def test_a_wrong_number_of_channels() -> None:
    with pytest.raises(ValueError, match="expected 123 attribute channels per pixel, got 5"):
        gaussians_from_attributes(torch.zeros(1, 1, 2, 2, 5), torch.zeros(1, 1, 2, 2, 3), AttributeSettings())
