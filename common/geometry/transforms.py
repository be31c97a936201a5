"""Rigid, similarity and affine transforms of points, batched.

A transform is (..., 4, 4) with last row (0, 0, 0, 1), or (..., 3, 3) for a linear map. ``a_from_b`` maps
coordinates in b to coordinates in a, so ``p_world = camera_to_world @ p_camera``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def apply_transform(transform: Tensor, points: Tensor) -> Tensor:
    """Transform points.

    Args:
        transform: (*B, 4, 4) affine, or (*B, 3, 3) linear.
        points: (*B, ..., 3). The leading axes match those of the transform or broadcast against them; any number of
            further axes (pixels, points) follows.

    Returns:
        (*B, ..., 3) points, of the transform's target frame.
    """
    batch_axes = transform.ndim - 2
    inner = points.shape[batch_axes:-1]
    flat = points.reshape(*points.shape[:batch_axes], -1, 3)
    moved = flat @ transform[..., :3, :3].mT
    if transform.shape[-1] == 4:
        moved = moved + transform[..., None, :3, 3]
    return moved.reshape(*moved.shape[:-2], *inner, 3)


def make_transform(linear: Tensor, translation: Tensor) -> Tensor:
    """(..., 4, 4) from a (..., 3, 3) rotation (or other linear part) and a (..., 3) translation."""
    batch = torch.broadcast_shapes(linear.shape[:-2], translation.shape[:-1])
    transform = linear.new_zeros(*batch, 4, 4)
    transform[..., :3, :3] = linear
    transform[..., :3, 3] = translation
    transform[..., 3, 3] = 1
    return transform


def invert_rigid(transform: Tensor) -> Tensor:
    """Inverse of (..., 4, 4) rotation and translation; exact, and without a solver."""
    rotation = transform[..., :3, :3].mT
    return make_transform(rotation, -(rotation @ transform[..., :3, 3:])[..., 0])


def invert(transform: Tensor) -> Tensor:
    """Inverse of any invertible (..., 4, 4) or (..., 3, 3)."""
    return torch.linalg.inv(transform)


def split_similarity(transform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A (..., 4, 4) similarity as scale (...), rotation (..., 3, 3) and translation (..., 3)."""
    linear = transform[..., :3, :3]
    scale = torch.linalg.det(linear).abs() ** (1 / 3)
    return scale, linear / scale[..., None, None], transform[..., :3, 3]


def rotation_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle in radians between rotations (..., 3, 3); exact also for angles near 0 and near pi."""
    relative = first.mT @ second
    skew = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        dim=-1,
    )
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(skew.norm(dim=-1), trace - 1)
