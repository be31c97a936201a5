"""Batched semantic 3-D Gaussians (Kerbl et al. 2023; Uni3R section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import roma
import torch
from torch import Tensor

from common.geometry.transforms import apply_transform, split_similarity
from common.views import TensorFields
from uni3r.gaussians.spherical_harmonics import rotate_harmonics


@dataclass
class Gaussians(TensorFields):
    """N Gaussians of every scene of a batch. The world frame is that of view 0 unless stated otherwise."""

    means: Tensor
    """(B, N, 3) centres, in the unit of the scene."""
    scales: Tensor
    """(B, N, 3) standard deviations along the axes of the Gaussian, positive, in the unit of the scene."""
    rotations: Tensor
    """(B, N, 4) quaternions (w, x, y, z) from the axes of the Gaussian to the world; need not be normalized."""
    opacities: Tensor
    """(B, N) in [0, 1]."""
    harmonics: Tensor
    """(B, N, K, 3) spherical harmonics of the colour, K = (degree + 1)^2 coefficients by RGB, constant one first."""
    features: Tensor | None = None
    """(B, N, C) semantic features."""

    @property
    def count(self) -> int:
        """Gaussians per scene."""
        return self.means.shape[-2]

    def rotation_matrices(self) -> Tensor:
        """(B, N, 3, 3) rotations from the axes of the Gaussian to the world."""
        xyzw = torch.nn.functional.normalize(self.rotations, dim=-1).roll(-1, dims=-1)
        return roma.unitquat_to_rotmat(xyzw)

    def covariances(self) -> Tensor:
        """(B, N, 3, 3) in the world."""
        axes = self.rotation_matrices() * self.scales[..., None, :]
        return axes @ axes.mT

    def take(self, index: Tensor) -> Gaussians:
        """Select Gaussians by an index (M,) or mask (N,), the same for all scenes of the batch."""
        return self._map(lambda tensor: tensor[:, index])

    def crop(self, low: Tensor, high: Tensor) -> Gaussians:
        """Select the Gaussians of one scene whose centres lie in a box.

        Args:
            low: (3,) smallest coordinates, included.
            high: (3,) largest coordinates, included.

        Raises:
            ValueError: for a batch of several scenes, which would keep different numbers.
        """
        if len(self.means) != 1:
            raise ValueError(f"crop takes one scene at a time, got a batch of {len(self.means)}")
        inside = ((self.means[0] >= low) & (self.means[0] <= high)).all(dim=-1)
        return self.take(inside)

    @staticmethod
    def merge(parts: Sequence[Gaussians]) -> Gaussians:
        """Concatenate several sets in one frame, scene by scene. Colours of lower degree are padded with zeros.

        Raises:
            ValueError: there are no parts, or features are missing in some or differ in width.
        """
        if not parts:
            raise ValueError("nothing to merge")
        widths = {None if part.features is None else part.features.shape[-1] for part in parts}
        if len(widths) > 1:
            raise ValueError(f"cannot merge Gaussians with features of different widths: {widths}")
        coefficients = max(part.harmonics.shape[-2] for part in parts)
        columns: list[Any] = []
        for field in fields(Gaussians):
            values = [getattr(part, field.name) for part in parts]
            if field.name == "harmonics":
                values = [torch.nn.functional.pad(v, (0, 0, 0, coefficients - v.shape[-2])) for v in values]
            columns.append(None if values[0] is None else torch.cat(values, dim=1))
        return Gaussians(*columns)

    def transform(self, transform: Tensor) -> Gaussians:
        """Transform to another frame, spherical harmonics included.

        Args:
            transform: (4, 4) or (B, 4, 4) similarity from the current world to the new one, without reflection.

        Raises:
            ValueError: the transform reflects, shears, or scales its axes differently.
        """
        scale, rotation, _ = split_similarity(transform)
        identity = torch.eye(3, device=rotation.device, dtype=rotation.dtype)
        if not torch.allclose(rotation @ rotation.mT, identity.expand_as(rotation), atol=1e-4):
            raise ValueError("Gaussians can be moved by similarities only: this transform shears or scales unevenly")
        if bool((torch.linalg.det(rotation) < 0).any()):
            raise ValueError("Gaussians cannot be mirrored: the transform has a negative determinant")
        turn = roma.rotmat_to_unitquat(rotation)[..., None, :].expand(*self.rotations.shape[:-1], 4)
        turned = roma.quat_product(turn, self.rotations.roll(-1, dims=-1)).roll(1, dims=-1)
        return Gaussians(
            means=apply_transform(transform, self.means),
            scales=self.scales * scale[..., None, None],
            rotations=turned,
            opacities=self.opacities,
            harmonics=rotate_harmonics(self.harmonics, rotation),
            features=self.features,
        )
