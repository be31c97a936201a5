"""A scene of given Gaussians, seen by a camera at the origin and one beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from common.views import Cameras, Pointmaps
from tests.support.tiny_uni3r import network
from uni3r.gaussians.gaussians import Gaussians
from uni3r.scene.scene import Scene
from uni3r.scene.scene_data import InputView

SIDE = 24


def gaussians_at(means: Tensor, scale: float = 0.05, opacity: float = 0.9, features: Tensor | None = None) -> Gaussians:
    """Round grey Gaussians (1, N) with centres (N, 3)."""
    count = len(means)
    return Gaussians(
        means=means[None],
        scales=torch.full((1, count, 3), scale),
        rotations=torch.tensor([1.0, 0, 0, 0]).expand(1, count, 4).clone(),
        opacities=torch.full((1, count), opacity),
        harmonics=torch.zeros(1, count, 4, 3),
        features=None if features is None else features[None],
    )


def scene_of(gaussians: Gaussians) -> Scene:
    """Two views of `SIDE` pixels, half a unit apart, that look along z."""
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 3] = 0.5
    middle = (SIDE - 1) / 2
    intrinsics = torch.tensor([[SIDE, 0, middle], [0, SIDE, middle], [0, 0, 1.0]]).repeat(2, 1, 1)
    blank = torch.zeros(2, SIDE, SIDE)
    return Scene(
        gaussians=gaussians,
        cameras=Cameras(poses, intrinsics),
        images=torch.zeros(2, 3, SIDE, SIDE),
        pointmaps=Pointmaps(torch.zeros(2, SIDE, SIDE, 3), blank),
        views=[InputView(f"{view}.png", view, (SIDE, SIDE), torch.eye(3)) for view in range(2)],
        network=network(),
        text=None,
        labels="rooms",
        sh_degree=0,
        background="black",
        intrinsics_from="given",
        poses_from="given",
    )
