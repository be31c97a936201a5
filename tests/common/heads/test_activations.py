"""Every activation on raw values, zero included."""

from __future__ import annotations

import pytest
import torch

from common.heads.activations import activate, activate_confidence, activate_points
from tests.support.parity import assert_close, vectors


@pytest.fixture(scope="module")
def golden():
    return vectors("activations")


@pytest.mark.parametrize(
    ("mode", "name"), [("exp", "points"), ("square", "points_square"), ("linear", "points_linear")]
)
def test_points(golden, mode: str, name: str) -> None:
    assert_close(activate_points(golden["raw"][..., :3], mode), golden[name])


@pytest.mark.parametrize(("mode", "name"), [("expp1", "confidence"), ("sigmoid", "confidence_sigmoid")])
def test_confidence(golden, mode: str, name: str) -> None:
    assert_close(activate_confidence(golden["raw"][..., 3], mode), golden[name])


def test_activate_reads_three_coordinates_and_a_logit(golden) -> None:
    pointmaps = activate(golden["raw"])
    assert_close(pointmaps.points, golden["points"])
    assert_close(pointmaps.confidence, golden["confidence"])


def test_inverse_logarithm_is_undone_by_the_logarithm() -> None:
    raw = torch.tensor([-2.0, 0.0, 0.5])
    points = activate_points(raw, "inv_log")
    torch.testing.assert_close(points.sign() * points.abs().log1p(), raw)


def test_other_confidence_modes() -> None:
    raw = torch.tensor([-1.0, 0.0, 2.0])
    assert torch.equal(activate_confidence(raw, "linear"), raw)
    assert torch.equal(activate_confidence(raw, "exp"), raw.exp())


@pytest.mark.parametrize("mode", ["exp", "square", "inv_log", "linear"])
def test_the_origin_has_a_finite_gradient(mode: str) -> None:
    raw = torch.zeros(2, 3, requires_grad=True)
    points = activate_points(raw, mode)
    points.sum().backward()
    assert torch.equal(points, torch.zeros(2, 3))
    assert raw.grad is not None and raw.grad.isfinite().all()


def test_unknown_modes_are_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown point activation 'cube'; expected one of exp, square"):
        activate_points(torch.zeros(3), "cube")
    with pytest.raises(ValueError, match=r"unknown confidence activation 'cube'"):
        activate_confidence(torch.zeros(3), "cube")
