"""Test-time pose alignment: move target cameras until the rendering fits the picture, with the Gaussians fixed.

Uni3R (arXiv 2508.03643) as published, after NoPoSplat (arXiv 2410.24207): a model without poses builds its own world,
which differs slightly from that of the true poses, and scores of novel views would mostly measure this difference. The
cameras are refined on the same images on which they are scored, so scores are reported with and without alignment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.geometry.transforms import invert_rigid, make_transform
from common.ranges import Count, Positive
from common.views import Cameras

Render = Callable[[Cameras], Tensor]
"""Images (..., 3, H, W) in [0, 1], not clamped, of cameras (...); differentiable in the poses."""


@dataclass(frozen=True)
class PoseAlignmentSettings:
    """Settings of Adam on nine numbers per camera. The defaults are the published ones."""

    steps: Count = 100
    """Number of renderings; an optimizer step follows each but the last."""
    learning_rate: Positive = 5e-3
    """Learning rate for translations in ``unit`` and for the 6-D rotation."""
    unit: Positive = 1.0
    """Unit of translations; the baseline or a metre in the published worlds."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


@dataclass(frozen=True)
class PoseAlignment:
    """Result of the alignment."""

    cameras: Cameras
    """The moved cameras, without gradient."""
    delta: Tensor
    """(..., 9) the correction: translation, then 6-D rotation (`rotation_from_6d`, offset by the identity)."""
    losses: Tensor
    """(steps,) mean absolute colour error at each rendering."""


def align_poses(
    render: Render, cameras: Cameras, images: Tensor, settings: PoseAlignmentSettings | None = None
) -> PoseAlignment:
    """Refine camera poses on their images.

    Args:
        render: renders the scene from given cameras.
        cameras: (...) initial cameras.
        images: (..., 3, H, W) in [0, 1], their images.
        settings: see `PoseAlignmentSettings`.
    """
    settings = settings or PoseAlignmentSettings()
    camera_from_world = invert_rigid(cameras.camera_to_world).detach()
    delta = camera_from_world.new_zeros(*camera_from_world.shape[:-2], 9, requires_grad=True)
    lengths = delta.new_tensor([settings.unit] * 3 + [1.0] * 6)
    optimizer = torch.optim.Adam([delta], lr=settings.learning_rate)
    losses = []
    with torch.enable_grad():
        for step in range(settings.steps):
            moved = Cameras(corrected_pose(camera_from_world, delta * lengths), cameras.intrinsics)
            loss = (render(moved) - images).abs().mean()
            losses.append(loss.detach())
            if step + 1 < settings.steps:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    final = delta.detach() * lengths
    aligned = Cameras(corrected_pose(camera_from_world, final), cameras.intrinsics)
    return PoseAlignment(aligned, final, torch.stack(losses))


def corrected_pose(camera_from_world: Tensor, delta: Tensor) -> Tensor:
    """Camera-to-world poses (..., 4, 4) of world-to-camera matrices (..., 4, 4) times the correction (..., 9)."""
    return invert_rigid(camera_from_world @ delta_transform(delta))


def delta_transform(delta: Tensor) -> Tensor:
    """(..., 4, 4) of (..., 9): translation, and a 6-D rotation of which zero means the identity."""
    identity = delta.new_tensor([1.0, 0, 0, 0, 1, 0])
    return make_transform(rotation_from_6d(delta[..., 3:] + identity), delta[..., :3])


def rotation_from_6d(values: Tensor) -> Tensor:
    """(..., 3, 3) rotations whose first two *rows* are the Gram-Schmidt orthonormalized halves of (..., 6).

    Zhou et al., "On the continuity of rotation representations in neural networks", CVPR 2019.
    """
    first = F.normalize(values[..., :3], dim=-1)
    second = values[..., 3:]
    second = F.normalize(second - (first * second).sum(dim=-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], dim=-2)
