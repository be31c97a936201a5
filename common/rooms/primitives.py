"""Solid primitives of a procedural room, as tensors: yawed boxes, vertical cylinders, ellipsoids and the room shell.

Every primitive is a unit shape (cube [-1, 1]^3, cylinder of radius 1 along z, unit sphere) that is scaled by its half
sizes, turned about the vertical and moved to its centre. World frame of a room: z up, metres, floor at z = 0, origin
in the middle of the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.views import TensorFields

BOX, CYLINDER, ELLIPSOID, SHELL = range(4)
"""Kinds of primitives. The shell is the room itself: a box that is seen from inside."""

LABEL_NAMES = ("wall", "floor", "ceiling", "chair", "table", "sofa", "bed", "other")
WALL, FLOOR, CEILING, CHAIR, TABLE, SOFA, BED, OTHER = range(8)


@dataclass
class Primitives(TensorFields):
    """Shapes and places of P primitives. Primitive 0 is the room shell."""

    kind: Tensor
    """(P,) int64, one of BOX, CYLINDER, ELLIPSOID, SHELL."""
    center: Tensor
    """(P, 3) float32, world, metres."""
    half_size: Tensor
    """(P, 3) float32, metres, along the primitive's own axes."""
    turn: Tensor
    """(P, 2) float32, cosine and sine of the yaw (about +z, counter-clockwise)."""
    surface: Tensor
    """(P,) int64, index into `Surfaces`; for the shell that of the first of -x, +x, -y, +y, floor, ceiling."""
    casts_shadow: Tensor
    """(P,) bool, false for lamps, whose light starts inside them."""

    def to_local(self, vectors: Tensor, index: Tensor | slice = slice(None)) -> Tensor:
        """Rotate world vectors (..., 3) into the frames of the primitives `index`; no scaling, no shift."""
        cos, sin = self.turn[index].unbind(-1)
        x, y, z = vectors.unbind(-1)
        return torch.stack((cos * x + sin * y, cos * y - sin * x, z.expand_as(x + cos)), -1)

    def clearance(self, points: Tensor) -> Tensor:
        """Distance (...) in metres from world points (..., 3) to the nearest surface, negative inside a solid.

        Cylinders and ellipsoids count as their bounding boxes, so the answer for these is a lower bound.
        """
        local = self.to_local(points[..., None, :] - self.center).abs() - self.half_size
        distance = local.clamp_min(0).norm(dim=-1) + local.amax(-1).clamp_max(0)
        distance = torch.where(self.kind == SHELL, -distance, distance)
        return distance.amin(-1)

    def corners(self) -> Tensor:
        """(P, 8, 3) world corners of the bounding boxes; bit k of the corner number is the side along axis k."""
        bits = torch.arange(8, device=self.center.device)
        signs = torch.stack([(bits >> axis) & 1 for axis in range(3)], -1) * 2.0 - 1.0
        x, y, z = (signs * self.half_size[:, None]).unbind(-1)
        cos, sin = self.turn[:, None].unbind(-1)
        return torch.stack((cos * x - sin * y, sin * x + cos * y, z), -1) + self.center[:, None]


@dataclass
class Surfaces(TensorFields):
    """Look and class of S surfaces: one per primitive, six for the shell."""

    label: Tensor
    """(S,) int64 semantic class."""
    texture: Tensor
    """(S,) int64, index into the texture bank."""
    frequency: Tensor
    """(S, 2) float32, texture periods per metre along the two texture axes."""
    turn: Tensor
    """(S, 2) float32, cosine and sine of the texture's angle on the face."""
    offset: Tensor
    """(S, 2) float32, texture offset in periods."""
    colors: Tensor
    """(S, 3, 3) float32, linear RGB reflectance of the texture's three components."""
    gloss: Tensor
    """(S,) float32, strength of the highlight."""
    emission: Tensor
    """(S,) float32, light given off, relative to the reflectance."""


@dataclass
class Lights(TensorFields):
    """L point lights."""

    position: Tensor
    """(L, 3) float32, world, metres."""
    color: Tensor
    """(L, 3) float32, linear RGB intensity at one metre."""
    ambient: Tensor
    """(L, 3) float32; the mean over L is the ambient light (kept per light so that all fields index together)."""


@dataclass
class Room:
    """A room that can be rendered."""

    primitives: Primitives
    surfaces: Surfaces
    lights: Lights
    size: tuple[float, float, float]
    """Room extent along x, y, z in metres."""
    sky: bool = False
    """Whether the shell's walls and ceiling stand for the sky, which has no depth."""

    def to(self, device: torch.device | str) -> Room:
        return Room(self.primitives.to(device), self.surfaces.to(device), self.lights.to(device), self.size, self.sky)
