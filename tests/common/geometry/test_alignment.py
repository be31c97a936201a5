"""Alignment: least squares against known answers, RANSAC and ICP against the published evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch

from common.geometry.alignment import (
    align_to_ground_truth,
    median_similarity,
    ransac_similarity,
    transform_points,
    umeyama,
)
from common.geometry.transforms import apply_transform, make_transform
from tests.support.parity import TOLERANCE, header, vectors
from tests.support.vector_files import numbers_of


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in vectors("evaluation").items()}


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def similarity(*batch: int, scale: float = 1.0) -> torch.Tensor:
    rotation = roma.random_rotmat(batch, dtype=torch.float64)
    return make_transform(scale * rotation, torch.randn(*batch, 3, dtype=torch.float64))


@pytest.mark.parametrize("with_scale", [True, False])
def test_umeyama_recovers_a_transform(with_scale: bool) -> None:
    transform = similarity(2, 3, scale=2.5 if with_scale else 1.0)
    points = torch.randn(2, 3, 50, 3, dtype=torch.float64)
    found = umeyama(points, apply_transform(transform, points), with_scale=with_scale)
    torch.testing.assert_close(found, transform)


def test_umeyama_never_mirrors() -> None:
    points = torch.randn(20, 3, dtype=torch.float64)
    mirrored = points * torch.tensor([1.0, 1.0, -1.0])
    found = umeyama(points, mirrored, with_scale=False)
    assert float(torch.linalg.det(found[:3, :3])) == pytest.approx(1)
    flat = points * torch.tensor([1.0, 1.0, 0.0])  # one plane: the third axis follows from the other two
    transform = similarity()
    torch.testing.assert_close(umeyama(flat, apply_transform(transform, flat)), transform)


def test_weights_silence_points() -> None:
    transform, points = similarity(scale=0.4), torch.randn(40, 3, dtype=torch.float64)
    target = apply_transform(transform, points)
    target[:10] += 5
    weights = torch.ones(40, dtype=torch.float64)
    weights[:10] = 0
    torch.testing.assert_close(umeyama(points, target, weights), transform)
    assert not umeyama(points, target, 0 * weights).isfinite().any(dim=-1)[:3].any()


def test_umeyama_is_differentiable() -> None:
    points = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randn(12, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: umeyama(p, target), points)


def test_parity_median_similarity(golden) -> None:
    for count in numbers_of(golden, r"umeyama_(\d+)_points"):
        found = median_similarity(golden["prediction"][:count], golden["ground_truth"][:count])
        assert relative(found, golden[f"umeyama_{count}_points"]) < TOLERANCE


def test_parity_alignment(golden) -> None:
    seed = header("evaluation")["seed"]
    result = align_to_ground_truth(golden["prediction"], golden["ground_truth"], seed)
    assert relative(result.ransac_transform, golden["ransac_transform"]) < TOLERANCE
    assert relative(result.transform, golden["aligned_transform"]) < TOLERANCE
    assert result.seed == seed and result.median_residual < 0.01
    assert result.scale == pytest.approx(np.cbrt(np.linalg.det(golden["aligned_transform"][:3, :3])), rel=1e-5)


def test_ransac_withstands_outliers() -> None:
    generator = np.random.default_rng(0)
    transform = similarity(scale=3.0).numpy()
    source = generator.normal(size=(500, 3))
    target = transform_points(transform, source)
    target[:150] = generator.normal(size=(150, 3)) * 5
    found, residual = ransac_similarity(source, target)
    np.testing.assert_allclose(found, transform, atol=0.1)  # coordinate-wise medians are not exact
    assert residual < 0.05
    assert ransac_similarity(source, target)[1] == residual


def test_ransac_of_many_pairs_finds_what_looking_at_all_of_them_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most hypotheses are dropped after a draw of the pairs; a poor prediction, as there many are nearly as good."""
    generator = np.random.default_rng(1)
    source = generator.normal(size=(3000, 3))
    target = transform_points(similarity(scale=2.0).numpy(), source) + 0.5 * generator.normal(size=source.shape)
    whole = ransac_similarity(source, target)
    monkeypatch.setattr("common.geometry.alignment._DRAW", 1000)
    drawn = ransac_similarity(source, target)
    np.testing.assert_array_equal(drawn[0], whole[0])
    assert drawn[1] == whole[1]


def test_ransac_refuses_a_single_point() -> None:
    with pytest.raises(ValueError, match="similarity"):
        ransac_similarity(np.ones((10, 3)), np.ones((10, 3)))
