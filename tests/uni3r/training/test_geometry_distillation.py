"""Geometry distillation against the published values and gradients, and what must hold for any input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from common.geometry.transforms import apply_transform, make_transform
from common.views import Pointmaps
from tests.support.parity import assert_close
from tests.support.uni3r_parity import vectors
from uni3r.training.geometry_distillation import (
    DistillationSettings,
    align_teacher,
    geometry_loss,
    most_confident,
    nearest_points,
    resized_to,
)


def _inputs() -> tuple[Tensor, Pointmaps, dict[str, Tensor]]:
    given = vectors("losses", "uni3r_geometry_distillation")
    return given["in.student_points"], Pointmaps(given["in.teacher_points"], given["in.teacher_conf"]), given


@pytest.mark.parametrize("keep", [0.9, 1.0])
def test_published_loss_and_gradient(keep: float) -> None:
    student, teacher, expected = _inputs()
    student.requires_grad_()
    loss = geometry_loss(student, teacher, DistillationSettings(keep=keep))
    loss.backward()
    assert_close(loss[None], expected[f"out.geo_loss_{keep}"], 1e-5)
    assert_close(student.grad, expected[f"grad.student_points_{keep}"], 1e-4)


def test_published_similarity() -> None:
    student, teacher, expected = _inputs()
    points, confidence = resized_to(teacher, student.shape[2:4])
    found = align_teacher(points, student, most_confident(confidence, 0.9), DistillationSettings())
    scale, rotation, translation = expected["out.sim3"].double().split([1, 9, 3], dim=-1)
    wanted = make_transform(scale[..., None] * rotation.unflatten(-1, (3, 3)), translation)
    assert_close(found, wanted, 1e-5)


def _surface(views: int = 3) -> Tensor:
    """A wavy surface (1, views, 12, 12, 3)."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-1, 1, 12), indexing="ij")
    return torch.stack([torch.stack([x, y, 2 + 0.3 * torch.sin(3 * x + view)], dim=-1) for view in range(views)])[None]


def test_a_teacher_in_another_frame_and_scale_says_the_same() -> None:
    student = _surface()
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    turn = turn * torch.linalg.det(turn)
    moved = apply_transform(make_transform(2.5 * turn, torch.tensor([3.0, -1, 2])), student)
    teacher = Pointmaps(moved, torch.rand(moved.shape[:-1]))
    for align in ("view", "sample"):
        assert geometry_loss(student, teacher, DistillationSettings(align=align)) < 1e-10


def test_one_similarity_per_sample_also_judges_how_views_lie_to_each_other() -> None:
    student = _surface()
    teacher = Pointmaps(student.clone(), torch.ones(student.shape[:-1]))
    shifted = student + torch.tensor([0.0, 0.0, 0.5]) * torch.tensor([0.0, 1, 2]).view(1, 3, 1, 1, 1)
    assert geometry_loss(shifted, teacher, DistillationSettings(align="view")) < 1e-10
    assert geometry_loss(shifted, teacher, DistillationSettings(align="sample")) > 1e-3


def test_points_that_the_teacher_doubts_neither_teach_nor_learn() -> None:
    student = _surface(1).requires_grad_()
    points, confidence = student.detach().clone(), torch.ones(1, 1, 12, 12)
    points[..., :1, :, 2] += 50  # one row in twelve is nonsense, and the teacher knows it
    confidence[..., :1, :] = 0.1
    settings = DistillationSettings(keep=0.9, align_on="kept")
    loss = geometry_loss(student, Pointmaps(points, confidence), settings)
    loss.backward()
    assert loss < 1e-10
    assert (student.grad[..., 0, :, :] == 0).all()
    assert geometry_loss(student, Pointmaps(points, confidence), DistillationSettings(keep=1.0)) > 1e-3


def test_nearest_points_agree_with_brute_force() -> None:
    queries, points = torch.randn(200, 3), torch.randn(300, 3)
    assert (nearest_points(queries, points) == torch.cdist(queries, points).argmin(dim=1)).all()


def test_divergence_is_named() -> None:
    with pytest.raises(ValueError, match="not finite"):
        nearest_points(torch.full((1, 3), torch.nan), torch.zeros(1, 3))


def test_keep_is_a_share() -> None:
    with pytest.raises(ValueError, match="share"):
        DistillationSettings(keep=90)
