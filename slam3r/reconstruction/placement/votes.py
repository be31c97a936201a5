"""Votes on the placement of frames: pairs of corresponding points, and those of Local-to-World itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

VOTES_PER_SIDE = 56
"""Approximate number of voting pixels along an image side; neighbouring pixels are redundant."""
NETWORK_WEIGHT = 0.1
"""Total weight of Local-to-World's votes on a frame."""


@dataclass(frozen=True)
class Votes:
    """Corresponding points that determine the placement of frames: P pairs for each of F frames."""

    local: Tensor
    """(F, P, 3) in the frame's camera, in the unit of its local pointmap."""
    world: Tensor
    """(F, P, 3)."""
    weight: Tensor
    """(F, P), 0 for a pair without a vote."""


def votes_of_network(local: Tensor, world: Tensor, confidence: Tensor, valid: Tensor) -> Votes:
    """One vote per pixel of a frame, by Local-to-World's registration; only the more confident half counts.

    Args:
        local: (F, H, W, 3) in each frame's camera.
        world: (F, H, W, 3) as registered.
        confidence: (F, H, W) of the registration.
        valid: (F, H, W) bool, the pixels that Local-to-World received.
    """
    local, world, confidence, valid = (thinned(x, confidence.shape[-2:]) for x in (local, world, confidence, valid))
    median = confidence.flatten(1).median(dim=1).values[:, None, None]
    weight = torch.where((confidence >= median) & valid, confidence, 0.0)
    return Votes(local.flatten(1, 2), world.flatten(1, 2), NETWORK_WEIGHT * sum_one(weight.flatten(1)))


def thinned(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """(.., H, W) or (.., H, W, 3) at about `VOTES_PER_SIDE` pixels a side."""
    spacing = max(1, min(size) // VOTES_PER_SIDE)
    return pixels[..., ::spacing, ::spacing, :] if pixels.shape[-3:-1] == size else pixels[..., ::spacing, ::spacing]


def sum_one(weight: Tensor) -> Tensor:
    """(F, P) weights scaled to sum to 1 per frame, so that sets of votes can be combined."""
    return weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-12)
