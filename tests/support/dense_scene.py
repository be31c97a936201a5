"""A small procedural room as the dense stages see it: pictures, exact depth and poses, and a prediction gone wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from common.geometry.cameras import project_world, unproject_to_world
from common.refinement.types import Camera, CameraEvidence, Picture, Prediction, RefinedCameras, Tracks
from common.rooms import Degradation, room_sequence


@dataclass
class DenseScene:
    """Input of `refine_depth`, and the truth."""

    pictures: list[Picture]
    prediction: Prediction
    refined: RefinedCameras
    depth: Tensor
    """(N, H, W) true depth on the network's grid."""


@cache
def dense_scene(
    seed: int = 2, frames: int = 7, network: tuple[int, int] = (112, 112), working: tuple[int, int] = (112, 144)
) -> DenseScene:
    """A walk through a room; the network sees the middle of pictures of the working size."""
    views = room_sequence(seed, frames, working, step=(0.1, 0.15), degradation=Degradation(blur=0.3, noise=0.01))
    assert views.depth is not None and views.camera_to_world is not None and views.intrinsics is not None
    top, left = (working[0] - network[0]) // 2, (working[1] - network[1]) // 2
    crop = torch.eye(3, dtype=torch.float64)
    crop[0, 2], crop[1, 2] = -left, -top
    images = ((views.images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pictures = [Picture(image, working, 0, crop, f"{index:06d}") for index, image in enumerate(images)]
    depth = views.depth[:, top : top + network[0], left : left + network[1]].contiguous()
    matrix = views.intrinsics[0]
    camera = Camera(float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2]), working)
    poses = views.camera_to_world
    tracks = true_tracks(views.depth, matrix, poses)
    prediction = Prediction(
        perturb(depth),
        torch.ones_like(depth, dtype=torch.bool),
        torch.ones_like(depth),
        poses,
        crop.float() @ matrix,
    )
    return DenseScene(pictures, prediction, refined_cameras([camera], poses, tracks), depth)


def refined_cameras(cameras: list[Camera], poses: Tensor, tracks: Tracks) -> RefinedCameras:
    """True cameras in the form that the camera stages give."""
    count = len(poses)
    return RefinedCameras(
        cameras,
        poses,
        torch.isfinite(poses).flatten(1).all(dim=1),
        poses,
        torch.ones(count),
        torch.full((count,), torch.nan),
        tracks,
        CameraEvidence(refined=True),
    )


def true_tracks(depth: Tensor, intrinsics: Tensor, poses: Tensor, per_frame: int = 60) -> Tracks:
    """Exact tracks of random pixels, over the frames that see them."""
    generator = torch.Generator().manual_seed(0)
    count, height, width = depth.shape
    world = unproject_to_world(depth, intrinsics.expand(count, 3, 3), poses)
    points, frames, pixels, owners = [], [], [], []
    for frame in range(count):
        index = torch.randint(height * width, (per_frame,), generator=generator)
        for point in world[frame].reshape(-1, 3)[index]:
            xy, z = project_world(point.expand(count, 1, 3), intrinsics.expand(count, 3, 3), poses)
            x, y = xy[:, 0].round().long().unbind(dim=-1)
            inside = (z[:, 0] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
            seen = depth[torch.arange(count), y.clamp(0, height - 1), x.clamp(0, width - 1)]
            visible = (inside & ((seen / z[:, 0] - 1).abs() < 0.02)).nonzero()[:, 0]
            if len(visible) > 1:
                owners += [len(points)] * len(visible)
                points.append(point)
                frames.append(visible)
                pixels.append(xy[visible, 0])
    return Tracks(torch.stack(points), torch.cat(frames), torch.cat(pixels), torch.tensor(owners))


def perturb(depth: Tensor, strength: float = 1.0) -> Tensor:
    """The faults of a network: a scale per frame, slow waves, and steps at the borders of its patches."""
    generator = torch.Generator().manual_seed(1)
    count, height, width = depth.shape
    scale = 0.3 * torch.randn(count, 1, 1, generator=generator)
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)
    slopes = 0.15 * torch.randn(count, 3, 1, 1, generator=generator)
    waves = slopes[:, 0] * x + slopes[:, 1] * y + slopes[:, 2] * torch.sin(2 * x + y)
    patch = max(4, height // 14)
    coarse = 0.08 * torch.randn(count, 1, height // patch + 1, width // patch + 1, generator=generator)
    steps = torch.nn.functional.interpolate(coarse, scale_factor=patch, mode="nearest")[:, 0, :height, :width]
    return depth * torch.exp(strength * (scale + waves + steps))


def error(depth: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """Mean relative error."""
    relative = (depth / truth - 1).abs()
    return float(relative.mean() if mask is None else relative[mask].mean())
