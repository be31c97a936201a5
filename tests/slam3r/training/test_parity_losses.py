"""Losses and scales against the published code: values, per-view terms, gradients.

The vectors have the views first, (view, batch, ..); ours have the batch first.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from common.geometry.normalization import SCALE_MODES, divide_by_scale, joint_scale
from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Pointmaps, Views
from slam3r.training import losses
from slam3r.training.losses import (
    Targets,
    clip_distance,
    correlation_loss,
    image_to_points_loss,
    local_to_world_loss,
    points_in_view,
    registration_inputs,
)
from tests.support.parity import assert_close, header, vectors
from tests.support.vector_files import numbers_of


class Golden:
    """A vector file with the batch in front."""

    def __init__(self, name: str) -> None:
        self.raw = vectors(name)
        self.alpha = header(name).get("alpha")

    def __getitem__(self, name: str) -> Tensor:
        value = self.raw[name]
        return value.transpose(0, 1).contiguous() if value.ndim >= 3 else value

    def views(self, monkeypatch: pytest.MonkeyPatch) -> Views:
        """Views whose camera pointmaps are those of the file. They are random, so no depth map has them."""
        pose, valid = self["camera_pose"], self["valid"]
        camera = apply_transform(invert_rigid(pose), self["points_world"])
        monkeypatch.setattr(losses, "camera_points", lambda views: Targets(camera, valid))
        return Views(torch.zeros(0), camera_to_world=pose)

    def prediction(self) -> Pointmaps:
        """A leaf, so that it gets gradients."""
        return Pointmaps(self["predicted_points"].requires_grad_(), self["predicted_confidence"].requires_grad_())


def gradients(loss: Tensor, predicted: Pointmaps) -> tuple[Tensor, Tensor]:
    points, confidence = torch.autograd.grad(
        loss, [predicted.points, predicted.confidence], retain_graph=True, materialize_grads=True
    )
    return points, confidence


class TestImageToPointsLoss:
    @pytest.fixture
    def golden(self) -> Golden:
        return Golden("loss_i2p")

    @pytest.fixture
    def targets(self, golden, monkeypatch) -> Targets:
        return points_in_view(golden.views(monkeypatch), int(golden["ref_id"]))

    def test_scales_of_truth_and_prediction(self, golden, targets) -> None:
        truth, predicted = targets.points, golden["predicted_points"]
        truth_scale, predicted_scale = (joint_scale(points, targets.valid) for points in (truth, predicted))
        assert_close(truth_scale, golden["gt_scale"])
        assert_close(predicted_scale, golden["pred_scale"])
        assert_close(divide_by_scale(truth, truth_scale)[:, 0], golden.raw["gt_normalized_view0"])
        assert_close(divide_by_scale(predicted, predicted_scale)[:, 0], golden.raw["pred_normalized_view0"])

    def test_confidence_loss_and_its_gradients(self, golden, targets) -> None:
        predicted = golden.prediction()
        terms = image_to_points_loss(predicted, targets, golden.alpha)
        assert_close(terms["loss"], golden["loss"])
        assert_close(terms["confidence_per_view"], golden["confidence_loss_per_view"])
        by_points, by_confidence = gradients(terms["loss"], predicted)
        assert_close(by_points, golden["grad_points"])
        assert_close(by_confidence, golden["grad_confidence"])

    def test_regression_and_its_gradient(self, golden, targets) -> None:
        predicted = golden.prediction()
        terms = image_to_points_loss(predicted, targets, golden.alpha)
        assert_close(terms["regression"], golden["regression_loss"])
        assert_close(terms["regression_per_view"], golden["regression_per_view"])
        by_points, by_confidence = gradients(terms["regression"], predicted)
        assert_close(by_points, golden["grad_points_regression"])
        assert not by_confidence.any()

    def test_truth_in_its_own_scale(self, golden, targets) -> None:
        predicted = golden.prediction()
        terms = image_to_points_loss(predicted, targets, golden.alpha, normalize_truth=False)
        assert_close(terms["regression"], golden["regression_loss_gt_scale"])
        assert_close(gradients(terms["regression"], predicted)[0], golden["grad_points_gt_scale"])

    def test_far_points_clipped(self, golden, targets) -> None:
        (limit,) = numbers_of(golden.raw, r"regression_loss_clip(\d+)")
        terms = image_to_points_loss(golden.prediction(), clip_distance(targets, limit), golden.alpha)
        assert_close(terms["regression"], golden[f"regression_loss_clip{limit}"])
        assert_close(terms["regression_per_view"], golden[f"regression_clip{limit}_per_view"])

    def test_what_is_invalid_does_not_matter_even_if_it_is_not_finite(self, golden, targets) -> None:
        predicted = golden.prediction()
        hole = ~targets.valid[..., None]
        broken = Targets(targets.points.masked_fill(hole, torch.nan), targets.valid)
        terms = image_to_points_loss(predicted, broken, golden.alpha)
        assert_close(terms["loss"], golden["loss"])
        assert_close(gradients(terms["loss"], predicted)[0], golden["grad_points"])

    def test_a_view_without_valid_pixels_adds_nothing(self, golden, targets) -> None:
        targets.valid[:, 1] = False
        predicted = golden.prediction()
        terms = image_to_points_loss(predicted, targets, golden.alpha)
        assert terms["confidence_per_view"][1] == terms["regression_per_view"][1] == 0
        by_points, by_confidence = gradients(terms["loss"], predicted)
        assert by_points.isfinite().all() and not by_points[:, 1].any() and not by_confidence[:, 1].any()


class TestLocalToWorldLoss:
    @pytest.fixture
    def golden(self) -> Golden:
        return Golden("loss_l2w")

    @pytest.fixture
    def inputs(self, golden, monkeypatch):
        return registration_inputs(golden.views(monkeypatch), int(golden["num_ref"]))

    def test_what_the_network_receives(self, golden, inputs) -> None:
        def channels_last(images: Tensor) -> Tensor:
            return images.movedim(2, -1)

        assert_close(inputs.scale, golden["norm_scale"])
        assert_close(inputs.reference_points, channels_last(golden["model_input_world"]))
        assert_close(inputs.source_points, channels_last(golden["model_input_camera"]))

    def test_loss_and_its_gradients(self, golden, inputs) -> None:
        predicted = golden.prediction()
        terms = local_to_world_loss(predicted, inputs.targets, golden.alpha)
        assert_close(terms["loss"], golden["loss"])
        assert_close(terms["confidence_per_view"], golden["confidence_loss_per_view"])
        assert_close(terms["regression_per_view"], golden["regression_per_view"])
        by_points, by_confidence = gradients(terms["loss"], predicted)
        assert_close(by_points, golden["grad_points"])
        assert_close(by_confidence, golden["grad_confidence"])


def test_correlation_loss_of_the_sources() -> None:
    golden = Golden("loss_correlation")
    sources = [view for view in range(golden["logits"].shape[1]) if view != int(golden["ref_id"])]
    terms = correlation_loss(golden["logits"][:, sources], golden["confidence"][:, sources])
    assert_close(terms["loss"], golden["loss"])
    assert_close(terms["per_source"], golden["per_source"])


class TestNormalization:
    @pytest.fixture
    def golden(self) -> Golden:
        return Golden("normalization")

    @pytest.mark.parametrize("mode", SCALE_MODES)
    def test_joint_scales(self, golden, mode: str) -> None:
        assert_close(joint_scale(golden["points"], golden["valid"], mode), golden[f"factor_{mode}"])
        if f"scale_{mode}" in golden.raw:
            assert_close(joint_scale(golden["points"], golden["valid"], mode), golden[f"scale_{mode}"])

    def test_normalized_points(self, golden) -> None:
        scale = joint_scale(golden["points"], golden["valid"])
        assert_close(divide_by_scale(golden["points"], scale), golden["normalized_avg_dis"])

    @pytest.mark.parametrize("mode", SCALE_MODES)
    def test_without_valid_points_the_scale_is_tiny_but_not_zero(self, golden, mode: str) -> None:
        nothing = torch.zeros_like(golden["valid"])
        assert torch.equal(joint_scale(golden["points"], nothing, mode), golden["scale_all_invalid"])

    @pytest.mark.parametrize("mode", SCALE_MODES)
    def test_gradients_are_finite_beside_points_that_are_not(self, mode: str) -> None:
        points = torch.randn(2, 3, 4, 5, 3)
        points[0, 0, 0, 0] = torch.inf
        points[1, 1, 1, 1] = 0
        points.requires_grad_()
        valid = points.detach().isfinite().all(-1)
        joint_scale(points, valid, mode).sum().backward()
        assert points.grad is not None and points.grad.isfinite().all()
