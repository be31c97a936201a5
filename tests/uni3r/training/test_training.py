"""The objective: terms, gradients, what is frozen, and that a step makes the pictures better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from common.training.optim import OptimizerConfig
from common.views import Pointmaps, Views
from slam3r.models import ImageToPoints
from slam3r.training.teacher import ImageToPointsTeacher
from tests.support.tiny_scene import SIZES as SLAM3R_SIZES
from tests.support.tiny_uni3r import network, room
from uni3r.models.description import SceneUnit
from uni3r.training.objective import GaussianObjective, network_from
from uni3r.training.rendering import RenderOptions
from uni3r.training.terms import LossWeights
from uni3r.training.view_selection import ViewSelection

SUPERVISED = LossWeights(lpips=0, geometry=0, feature=0.2, depth=0.1, pointmap=0.5, ssim=0.2)
VIDEO = ViewSelection(order="interleaved", min_context=2, max_targets=1, render_context_up_to=0, crop=32)
POINTS = SceneUnit("points")


class ByLabel(nn.Module):
    """A teacher of one channel per class; remembers the images it was shown."""

    width = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[Tensor] = []

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        self.seen.append(images)
        if labels is None:
            return images.new_zeros(*images.shape[:2], 8, *images.shape[-2:])
        return torch.nn.functional.one_hot(labels.clamp(max=7), 8).movedim(-1, 2).float() * self.weight


def _window(frames: int = 3) -> Views:
    return room(frames)[None]


def _objective(**options) -> GaussianObjective:
    chosen = {
        "weights": SUPERVISED,
        "views": VIDEO,
        "unit": POINTS,
        "teacher": ByLabel(),
        "feature_residual": False,
        "true_poses": True,
        **options,
    }
    return GaussianObjective(network(), OptimizerConfig(), **chosen)


def test_terms_are_weighted_and_every_parameter_learns() -> None:
    objective = _objective(views=VIDEO, rendering=RenderOptions(raise_sh_every=1))
    type(objective).global_step = property(lambda self: 5)  # past the last degree of the harmonics
    try:
        terms = objective.terms(_window(5), training=True)
    finally:
        del type(objective).global_step
    weights = vars(SUPERVISED)
    expected = sum(weights[name] * value for name, value in terms.items() if weights.get(name))
    torch.testing.assert_close(terms["loss"], expected)
    terms["loss"].backward()
    dead = [name for name, p in objective.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


def test_a_few_steps_make_the_pictures_better() -> None:
    objective = _objective(views=ViewSelection(order="interleaved", render_context_up_to=0))
    optimizer = torch.optim.Adam(objective.model.parameters(), lr=5e-3)
    losses = []
    for _ in range(6):
        terms = objective.terms(_window(), training=True)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(float(terms["loss"].detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_teachers_stay_frozen_and_are_not_saved() -> None:
    teacher = ByLabel()
    objective = _objective(teacher=teacher)
    objective.train()
    assert not teacher.training
    assert not teacher.weight.requires_grad
    assert all(name.startswith("model.") for name in objective.state_dict())
    objective.terms(_window(), training=True)["loss"].backward()
    assert teacher.weight.grad is None


def test_published_ranges_of_the_feature_loss() -> None:
    """Context features come from [-1, 1], targets from [0, 1] if so asked."""
    teacher = ByLabel()
    objective = _objective(teacher=teacher, feature_residual=True, target_range="zero_to_one")
    window = _window()
    objective.terms(window, training=False)
    residual, target = teacher.seen
    torch.testing.assert_close(residual, window.images[:, [0, 2]])
    torch.testing.assert_close(target, (window.images[:, [1]] + 1) / 2)


def test_a_slam3r_network_teaches_geometry() -> None:
    torch.manual_seed(0)
    teacher = ImageToPointsTeacher(ImageToPoints(**SLAM3R_SIZES))
    weights = LossWeights(lpips=0, feature=0, geometry=1.0)
    objective = _objective(weights=weights, teacher=None, pointmap_teacher=teacher, true_poses=False)
    terms = objective.terms(_window(), training=False)
    assert terms["geometry"] > 0
    assert isinstance(teacher(_window().images), Pointmaps)
    assert "geometry" not in _objective(weights=weights, teacher=None, pointmap_teacher=teacher, distill_up_to=2).terms(
        _window(5), training=False
    )


def test_a_weight_without_its_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="geometry"):
        _objective(weights=LossWeights(lpips=0, feature=0))


def test_features_of_the_context_learn_without_a_rendering(monkeypatch) -> None:
    unrendered = LossWeights(l1=0, lpips=0, feature=0, geometry=0, context_feature=1.0, pointmap=0.5)
    teacher = ByLabel()
    objective, window = _objective(weights=unrendered, teacher=teacher), _window()
    monkeypatch.setattr("uni3r.training.rendering.rasterize", None)  # would be called in vain
    terms = objective.terms(window, training=False)
    assert terms.keys() == {"context_feature", "pointmap", "regression", "loss"}
    context = window[:, [0, 2]]
    with torch.no_grad():
        features = objective.model(context.images, context.intrinsics).gaussians.features[0]
    similar = torch.cosine_similarity(features, context.labels.flatten().clamp(max=7)[:, None].eq(torch.arange(8)))
    assert float(terms["context_feature"].detach()) == pytest.approx(1 - float(similar.mean()), abs=1e-4)


def test_pictures_show_truth_rendering_and_depth() -> None:
    with torch.no_grad():
        picture = _objective().eval().pictures(_window())["novel_views"]
    assert picture.shape == (3 * 32, 48, 3)


def test_class_weights_need_labels_and_change_the_feature_term_alone() -> None:
    plain = _objective().terms(_window(), training=False)
    weighed = _objective(class_weights=[1, 1, 1, 9, 9, 9, 9, 1]).terms(_window(), training=False)
    assert weighed["feature"] != plain["feature"]
    assert weighed["l1"] == plain["l1"]
    even = _objective(class_weights=[2.0] * 8).terms(_window(), training=False)
    assert even["feature"].detach() == pytest.approx(float(plain["feature"].detach()), rel=1e-4)
    with pytest.raises(ValueError, match="class_weights weigh labels"):
        _objective(class_weights=[1.0] * 8).terms(replace(_window(), labels=None), training=False)
    with pytest.raises(ValueError, match="at least 0"):
        _objective(class_weights=[1.0, -1.0])


def test_training_begins_with_the_backbone_of_one_network_and_the_heads_of_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained, slam3r = network(), ImageToPoints(**SLAM3R_SIZES)
    trained.save_pretrained(tmp_path / "uni3r")
    slam3r.save_pretrained(tmp_path / "slam3r")
    found = network_from(trained.config.to_dict(), tmp_path / "slam3r", tmp_path / "uni3r").state_dict()
    for name, theirs in {"backbone.encoder": slam3r.encoder, "point_head.source": slam3r.source_head}.items():
        assert all(torch.equal(found[f"{name}.{key}"], value) for key, value in theirs.state_dict().items())
    heads = trained.attribute_head.state_dict()
    assert all(torch.equal(found[f"attribute_head.{key}"], value) for key, value in heads.items())
