"""The Gaussians dataclass: cropping, merging and moving; colours turn with the world."""

from __future__ import annotations

import pytest
import roma
import torch
from torch import Tensor

from common.geometry.transforms import apply_transform, invert, make_transform
from uni3r.gaussians.gaussians import Gaussians
from uni3r.gaussians.spherical_harmonics import spherical_harmonics


def _scene(count: int = 20, degree: int = 2, batch: int = 1, features: int | None = 4) -> Gaussians:
    generator = torch.Generator().manual_seed(count + degree)

    def random(*shape: int) -> Tensor:
        return torch.randn(batch, count, *shape, generator=generator)

    return Gaussians(
        means=random(3),
        scales=random(3).exp(),
        rotations=random(4),
        opacities=random().sigmoid(),
        harmonics=random((degree + 1) ** 2, 3),
        features=None if features is None else random(features),
    )


def _similarity(scale: float = 1.7) -> Tensor:
    rotation = roma.random_rotmat(1)[0]
    return make_transform(scale * rotation, torch.tensor([0.3, -1.0, 2.0]))


def test_covariances_move_with_the_world() -> None:
    scene, transform = _scene(), _similarity()
    moved = scene.transform(transform)
    linear = transform[:3, :3]
    torch.testing.assert_close(moved.covariances(), linear @ scene.covariances() @ linear.mT, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved.means, apply_transform(transform, scene.means))
    assert torch.equal(moved.opacities, scene.opacities) and torch.equal(moved.features, scene.features)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_a_colour_seen_from_a_moved_place_stays_what_it_was(degree: int) -> None:
    scene, transform = _scene(degree=degree), _similarity()
    moved = scene.transform(transform)
    rotation = transform[:3, :3] / torch.linalg.det(transform[:3, :3]) ** (1 / 3)
    directions = torch.nn.functional.normalize(torch.randn(7, 3), dim=-1)
    before = spherical_harmonics(directions, degree) @ scene.harmonics[0]
    after = spherical_harmonics(directions @ rotation.mT, degree) @ moved.harmonics[0]
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_there_and_back() -> None:
    scene, transform = _scene(degree=3), _similarity()
    back = scene.transform(transform).transform(invert(transform))
    torch.testing.assert_close(back.means, scene.means, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(back.harmonics, scene.harmonics, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(back.covariances(), scene.covariances(), rtol=1e-4, atol=1e-4)


def test_every_scene_of_a_batch_may_move_its_own_way() -> None:
    scene = _scene(batch=2)
    transforms = torch.stack([_similarity(), _similarity(0.5)])
    together = scene.transform(transforms)
    for index in range(2):
        alone = scene[index : index + 1].transform(transforms[index])
        torch.testing.assert_close(together.means[index], alone.means[0])
        torch.testing.assert_close(together.harmonics[index], alone.harmonics[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.covariances()[index], alone.covariances()[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("diagonal", "reason"), [((1.0, 1.0, -1.0), "mirrored"), ((1.0, 1.0, 2.0), "similarities only")]
)
def test_what_cannot_be_moved(diagonal: tuple, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _scene().transform(make_transform(torch.diag(torch.tensor(diagonal)), torch.zeros(3)))


def test_crop_keeps_what_lies_in_the_box() -> None:
    scene = _scene(200)
    kept = scene.crop(torch.tensor([-0.5, -9.0, -9.0]), torch.tensor([0.5, 9.0, 9.0]))
    assert 0 < kept.count < 200
    assert kept.means[..., 0].abs().max() <= 0.5
    assert kept.harmonics.shape == (1, kept.count, 9, 3)
    with pytest.raises(ValueError, match="one scene at a time, got a batch of 2"):
        _scene(batch=2).crop(torch.zeros(3), torch.ones(3))


def test_merge_fills_colours_of_lower_degree() -> None:
    matt, shiny = _scene(5, degree=0), _scene(7, degree=1)
    both = Gaussians.merge([matt, shiny])
    assert both.count == 12 and both.harmonics.shape == (1, 12, 4, 3)
    assert torch.equal(both.harmonics[:, :5, :1], matt.harmonics) and not both.harmonics[:, :5, 1:].any()
    assert torch.equal(both.means[:, 5:], shiny.means)
    with pytest.raises(ValueError, match="features of different widths"):
        Gaussians.merge([matt, _scene(features=None)])
