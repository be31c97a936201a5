"""`rigid_registration`: the shape of the local pointmap at the place where the network put it."""

from __future__ import annotations

import torch

from common.geometry.transforms import apply_transform, make_transform
from slam3r.reconstruction.registration import move_rigidly


def similarity(scale: float, degrees: float, translation: list[float]) -> torch.Tensor:
    """Turn about the vertical axis."""
    angle = torch.tensor(degrees).deg2rad()
    sine, cosine = angle.sin().item(), angle.cos().item()
    rotation = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return make_transform(scale * rotation, torch.tensor(translation))


def test_noise_of_the_network_goes_and_its_place_stays():
    generator = torch.Generator().manual_seed(0)
    local = torch.rand(2, 16, 20, 3, generator=generator) + torch.tensor([0.0, 0, 1])
    place = torch.stack([similarity(1.4, 40, [0.3, 0.1, -2]), similarity(0.7, -100, [1, 0, 0.5])])
    truth = apply_transform(place, local)
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=generator)
    confidence = torch.full((2, 16, 20), 5.0)
    moved = move_rigidly(local, noisy, confidence)
    error, before = (moved - truth).norm(dim=-1).mean(), (noisy - truth).norm(dim=-1).mean()
    assert error < before / 4


def test_points_without_confidence_do_not_vote():
    generator = torch.Generator().manual_seed(1)
    local = torch.rand(1, 16, 20, 3, generator=generator) + torch.tensor([0.0, 0, 1])
    truth = apply_transform(similarity(1.2, 25, [0.0, 0.2, 1])[None], local)
    world, confidence = truth.clone(), torch.full((1, 16, 20), 5.0)
    world[:, :7], confidence[:, :7] = 100.0, 1.0
    assert torch.allclose(move_rigidly(local, world, confidence), truth, atol=1e-4)


def test_masked_pixels_keep_what_the_network_gave():
    local = torch.rand(1, 16, 20, 3, generator=torch.Generator().manual_seed(2)) + 0.5
    local[:, :4] = 0
    world = apply_transform(similarity(1.0, 10, [0.0, 0, 0])[None], local)
    world[:, :4] = 7.0
    moved = move_rigidly(local, world, torch.ones(1, 16, 20))
    assert (moved[:, :4] == 7.0).all()


def test_a_frame_without_a_local_pointmap_stays_as_it_is():
    world = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(move_rigidly(torch.zeros_like(world), world, torch.ones(1, 8, 8)), world)
