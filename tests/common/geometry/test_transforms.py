"""Transforms: parity with the published code, and identities that hold whatever the numbers."""

from __future__ import annotations

import math

import pytest
import roma
import torch

from common.geometry.normalization import divide_by_scale, joint_scale
from common.geometry.transforms import (
    apply_transform,
    invert,
    invert_rigid,
    make_transform,
    rotation_angle,
    split_similarity,
)
from tests.support.parity import assert_close, vectors


@pytest.fixture(scope="module")
def golden():
    return vectors("geometry")


def random_rigid(*batch: int) -> torch.Tensor:
    return make_transform(roma.random_rotmat(batch, dtype=torch.float64), torch.randn(*batch, 3, dtype=torch.float64))


def test_parity_transformed_points(golden) -> None:
    assert_close(apply_transform(golden["transform"], golden["points"]), golden["transformed"])
    assert_close(apply_transform(golden["transform"][:, :3, :3], golden["points"]), golden["transformed_3x3"])
    assert_close(apply_transform(golden["transform"][0], golden["flat_points"]), golden["flat_transformed"])


def test_parity_inverse(golden) -> None:
    assert_close(invert(golden["transform"]), golden["inverse"])


def test_parity_joint_normalization(golden) -> None:
    points, valid = golden["views_points"][None], golden["views_valid"][None]
    scale = joint_scale(points, valid)
    assert_close(scale, golden["views_factor"])
    assert_close(divide_by_scale(points, scale)[0], golden["views_normalized"])


@pytest.mark.parametrize("inner", [(), (7,), (4, 5)])
def test_inverse_undoes_transform(inner: tuple[int, ...]) -> None:
    transform, points = random_rigid(2, 3), torch.randn(2, 3, *inner, 3, dtype=torch.float64)
    moved = apply_transform(transform, points)
    assert moved.shape == points.shape
    torch.testing.assert_close(apply_transform(invert_rigid(transform), moved), points)
    torch.testing.assert_close(invert_rigid(transform), invert(transform))


def test_one_transform_for_all_views_broadcasts() -> None:
    transform, points = random_rigid(2, 1), torch.randn(2, 4, 6, 5, 3, dtype=torch.float64)
    moved = apply_transform(transform, points)
    torch.testing.assert_close(moved[1, 2], apply_transform(transform[1, 0], points[1, 2]))
    torch.testing.assert_close(apply_transform(transform[0, 0], points)[0], moved[0])


def test_similarity_splits_into_its_parts() -> None:
    rigid, scale = random_rigid(5), torch.rand(5, dtype=torch.float64) + 0.1
    similarity = make_transform(scale[:, None, None] * rigid[:, :3, :3], rigid[:, :3, 3])
    found_scale, rotation, translation = split_similarity(similarity)
    torch.testing.assert_close(found_scale, scale)
    torch.testing.assert_close(rotation, rigid[:, :3, :3])
    torch.testing.assert_close(translation, rigid[:, :3, 3])


@pytest.mark.parametrize("angle", [0.0, 1e-7, 0.3, math.pi - 1e-7])
def test_rotation_angle_also_at_the_ends(angle: float) -> None:
    base = roma.random_rotmat((), dtype=torch.float64)
    turned = base @ roma.rotvec_to_rotmat(torch.tensor([0.0, angle, 0.0], dtype=torch.float64))
    assert float(rotation_angle(base, turned)) == pytest.approx(angle, abs=1e-12)
