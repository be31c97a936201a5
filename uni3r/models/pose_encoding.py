"""Pose encoding of VGGT's camera head: nine numbers per camera (Wang et al. 2025).

Translation (3), quaternion **scalar last** (4), then vertical and horizontal field of view (2). The pose they encode is
**world to camera**; everywhere else in this project poses are camera to world. Quaternions need not be of unit length.
"""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from common.geometry.transforms import invert_rigid
from common.views import Cameras

ENCODING_SIZE = 9
SMALLEST_FIELD_OF_VIEW = 1e-3
"""Radians. The head's last ReLU can give zero, which would be an infinite focal length."""


def cameras_from_encoding(encoding: Tensor, size: tuple[int, int]) -> Cameras:
    """
    Args:
        encoding: (..., 9).
        size: (height, width) of the images, pixels.

    Returns:
        Cameras (...), the principal point in the middle of the image.
    """
    world_to_camera = encoding.new_zeros(*encoding.shape[:-1], 4, 4)
    world_to_camera[..., :3, :3] = _rotation(encoding[..., 3:7])
    world_to_camera[..., :3, 3] = encoding[..., :3]
    world_to_camera[..., 3, 3] = 1
    height, width = size
    half_angles = encoding[..., 7:].clamp(min=SMALLEST_FIELD_OF_VIEW) / 2
    intrinsics = encoding.new_zeros(*encoding.shape[:-1], 3, 3)
    intrinsics[..., 0, 0] = width / 2 / half_angles[..., 1].tan()
    intrinsics[..., 1, 1] = height / 2 / half_angles[..., 0].tan()
    intrinsics[..., 0, 2] = (width - 1) / 2
    intrinsics[..., 1, 2] = (height - 1) / 2
    intrinsics[..., 2, 2] = 1
    return Cameras(invert_rigid(world_to_camera), intrinsics)


def _rotation(quaternion: Tensor) -> Tensor:
    """(..., 4) scalar last, of any length but zero, to (..., 3, 3)."""
    return roma.unitquat_to_rotmat(torch.nn.functional.normalize(quaternion, dim=-1))
