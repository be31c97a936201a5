"""A stem in I2P's decoder: it starts without an effect, and whatever it says, Local-to-World's tokens stay the same."""

from __future__ import annotations

import torch
from torch import Tensor

from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.reconstruction.networks import Networks

SIZES = {
    "encoder_width": 32,
    "encoder_depth": 2,
    "encoder_heads": 2,
    "decoder_width": 48,
    "decoder_depth": 4,
    "decoder_heads": 2,
}
IMAGES = torch.rand(1, 3, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def networks() -> tuple[ImageToPoints, ImageToPoints]:
    """The same I2P without and with a stem."""
    torch.manual_seed(0)
    plain = ImageToPoints(**SIZES).eval()
    seeing = ImageToPoints(**SIZES, stem=True).eval()
    missing = seeing.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert all(name.startswith("sight.") for name in missing)
    return plain, seeing


def learnt(model: ImageToPoints) -> ImageToPoints:
    """A network whose stem has something to say."""
    assert model.sight is not None
    torch.nn.init.normal_(model.sight.residuals.weight, std=0.5)
    return model


@torch.no_grad()
def test_it_starts_without_an_effect() -> None:
    plain, seeing = networks()
    for wanted, found in zip(run(plain), run(seeing), strict=True):
        torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_its_knowledge_reaches_points_and_retrieval_but_not_local_to_world() -> None:
    plain, seeing = networks()
    seeing = learnt(seeing)
    changed = [bool((found - wanted).abs().max() > 1e-4) for wanted, found in zip(run(plain), run(seeing), strict=True)]
    assert changed == [True, True, True]
    world = LocalToWorld(**SIZES).eval()
    registered = []
    for model in (plain, seeing):
        pair = Networks(model, world)
        tokens, grid = pair.encode(IMAGES[0], batch=2)
        points = torch.ones(2, 48, 64, 3)
        known = pair.start_references(tokens[:2], points, grid)
        registered.append(pair.register(known, tokens[None, 2:], points[None, :1], grid).points)
    torch.testing.assert_close(*registered)


@torch.no_grad()
def test_frames_of_one_pass_and_of_many_have_the_same_tokens() -> None:
    seeing = learnt(networks()[1])
    together, _ = seeing.encode(IMAGES)
    assert together.shape[-1] == seeing.token_width == 32 + 48
    torch.testing.assert_close(seeing.encode(IMAGES, chunk=2)[0], together)


def run(model: ImageToPoints) -> tuple[Tensor, Tensor, Tensor]:
    """Points of a window, the reference's own points, and retrieval scores."""
    tokens, grid = model.encode(IMAGES)
    window = model(tokens, grid, 1).points
    sources = model.start_sources(tokens[:, 1:], grid)  # as well as their tokens: the stem reaches both
    own = model.reference_pointmap(tokens[:, 0], sources, grid).points
    return window, own, model.correlation_scores(tokens[0, :1], tokens[0, 1:], grid)
