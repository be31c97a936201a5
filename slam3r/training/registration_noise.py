"""Augmentation of L2W's training inputs towards those at inference: imperfect pointmaps and arbitrary worlds.

The published recipe trains on true pointmaps, with the world at a neighbouring camera; large networks trained on large
data bridge the gap. Small ones do not: in a long sequence the inputs are predictions, and the camera rotates far away
from the world's axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from slam3r.training.losses import RegistrationInputs, Targets


@dataclass(frozen=True)
class RegistrationNoise:
    """Random changes of L2W's inputs, and of its targets where the world itself changes."""

    range_sigma: float = 0.06
    """Standard deviation of the logarithm of a smooth factor on the range of a source's points."""
    reference_sigma: float = 0.02
    """The same for the references, about their centroid."""
    grid: int = 4
    """The smooth factors are drawn on a grid of this many knots a side and interpolated."""
    turn_probability: float = 0.6
    """Probability that the world is turned, tilted, moved and scaled."""
    turn_sigma: float = 1.2
    """Standard deviation of the turn about the vertical, radians."""
    tilt_sigma: float = 0.1
    """Standard deviation of the tilt, radians."""
    move_sigma: float = 0.3
    """Standard deviation of the move per axis, in units of the scene."""
    scale_sigma: float = 0.2
    """Standard deviation of the logarithm of the world's scale."""

    def __call__(self, inputs: RegistrationInputs, generator: torch.Generator) -> RegistrationInputs:
        """Noisy inputs, with the targets in the same, possibly turned, world."""
        num_references = inputs.reference_points.shape[1]
        points = self._move_world(inputs.targets.points, generator)
        valid = inputs.targets.valid
        references = points[:, :num_references]
        mask = valid[:, :num_references, ..., None]
        count = mask.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        centre = torch.where(mask, references, 0.0).sum(dim=(2, 3), keepdim=True) / count
        wobble = self._smooth_factor(references, self.reference_sigma, generator)
        references = centre + (references - centre) * wobble
        sources = inputs.source_points * self._smooth_factor(inputs.source_points, self.range_sigma, generator)
        return RegistrationInputs(torch.where(mask, references, 0.0), sources, Targets(points, valid), inputs.scale)

    def _smooth_factor(self, points: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
        batch, views, height, width, _ = points.shape
        knots = sigma * torch.randn(batch * views, 1, self.grid, self.grid, generator=generator)
        field = F.interpolate(knots.to(points.device), (height, width), mode="bicubic", align_corners=True)
        return field.exp().view(batch, views, height, width, 1)

    def _move_world(self, points: Tensor, generator: torch.Generator) -> Tensor:
        batch = len(points)
        chosen = (torch.rand(batch, generator=generator) < self.turn_probability).float()
        yaw = self.turn_sigma * torch.randn(batch, generator=generator) * chosen
        pitch, roll = self.tilt_sigma * torch.randn(2, batch, generator=generator) * chosen
        move = self.move_sigma * torch.randn(batch, 3, generator=generator) * chosen[:, None]
        scale = (self.scale_sigma * torch.randn(batch, generator=generator) * chosen).exp()
        rotation = _axis_rotation(pitch, 0) @ _axis_rotation(roll, 2) @ _axis_rotation(yaw, 1)
        linear = (scale[:, None, None] * rotation).to(points.device)
        return torch.einsum("bij,bvhwj->bvhwi", linear, points) + move.to(points.device)[:, None, None, None]


def _axis_rotation(angle: Tensor, axis: int) -> Tensor:
    """(B,) radians to (B, 3, 3) about one coordinate axis (0 = x right, 1 = y down, 2 = z forward)."""
    rotation = torch.eye(3).repeat(len(angle), 1, 1)
    i, j = [other for other in range(3) if other != axis]
    rotation[:, i, i] = rotation[:, j, j] = angle.cos()
    sign = -1 if axis != 1 else 1
    rotation[:, i, j] = sign * angle.sin()
    rotation[:, j, i] = -sign * angle.sin()
    return rotation
