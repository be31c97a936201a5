"""Refinement of the context poses without ground truth: each view is aligned with renderings of the previous ones.

A network's poses of widely spaced views are off by several degrees, which shows objects twice, side by side. The images
contain better information. For the views in order, the Gaussians of the earlier views are rendered from the estimated
camera, and `uni3r.posing.direct_alignment` solves for the motion that aligns them with the image, from coarse to fine
so that large errors are corrected too. It needs a few renderings per view and no gradient through any: gradient descent
through the renderer, as in test-time alignment (`uni3r.evaluation.pose_alignment`), takes ten times as long and finds
worse poses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.posing.picture_matching import PictureMatching
from uni3r.posing.settings import RefinementSettings

_SMALLEST = 16
"""Smallest shorter side of a reduced image, pixels; smaller ones have too little detail."""


@torch.no_grad()
def refine_context(
    gaussians: Gaussians, cameras: Cameras, images: Tensor, settings: RefinementSettings | None = None
) -> Tensor:
    """Refine the poses of the views that Gaussians came from. A view without a better match keeps its pose.

    Args:
        gaussians: one scene (1, V * H * W), view by view, with centres on the rays of their pixels.
        cameras: (V,) cameras by which they were placed; all finite.
        images: (V, 3, H, W) in [0, 1].
        settings: see `RefinementSettings`.

    Returns:
        (V, 4, 4) camera-to-world; the first is unchanged.
    """
    settings = settings or RefinementSettings()
    views, _, *grid = images.shape
    parts = [view_part(gaussians, view, views) for view in range(views)]
    unit = _median_depth(parts[0], cameras.camera_to_world[0])
    poses = [cameras.camera_to_world[0]]
    placed = [parts[0]]
    for view in range(1, views):
        old = cameras.camera_to_world[view]
        levels = (
            PictureMatching(
                placed,
                (grid[0], grid[1]),
                images[view : view + 1],
                cameras.intrinsics[view : view + 1],
                unit,
                factor,
                settings.min_coverage,
            )
            for factor in settings.shrink
            if min(grid) >= _SMALLEST * factor or factor == settings.shrink[-1]
        )
        # The network's error may exceed the camera motion, so the previous view's pose is a second start.
        pose = _refine_view(levels, [old, poses[-1]], settings)
        poses.append(pose)
        placed.append(parts[view].transform(pose @ invert_rigid(old)))
    return torch.stack(poses)


def _refine_view(levels: Iterable[PictureMatching], starts: Sequence[Tensor], settings: RefinementSettings) -> Tensor:
    """(4, 4) pose of one image from the best of several starts (4, 4); the first start if nothing is better."""
    poses = list(starts)
    for level in levels:
        found = [level.refine(pose, settings.renderings, settings.direct) for pose in poses]
        poses = [min(found, key=lambda pair: pair[1])[0]]
    # A choice made on small images must also hold on the largest one.
    return poses[0] if level.is_better(poses[0], starts[0]) else starts[0]


@torch.no_grad()
def search_unit(first: Gaussians, cameras: Cameras, images: Tensor, candidates: int = 16) -> Tensor | None:
    """Search for the scale of known poses: their unit per unit of the network.

    Depth and baseline must agree: the Gaussians of view 0, rendered from the other cameras, match the images best at
    the right ratio. It is searched in equal steps of its logarithm, then refined on larger images between the
    neighbours of the best.

    Args:
        first: Gaussians (1, H * W) of view 0.
        cameras: (V,) known, in the frame of view 0, any unit.
        images: (V, 3, H, W) in [0, 1].
        candidates: ratios per round; median depth over the largest baseline goes from 0.5 to 200.

    Returns:
        Scalar; None if the cameras do not move.
    """
    depth = _median_depth(first, cameras.camera_to_world[0])
    baseline = float(cameras.camera_to_world[:, :3, 3].norm(dim=-1).max())
    if baseline < 1e-6:
        return None
    poses, intrinsics = cameras.camera_to_world[1:], cameras.intrinsics[1:]
    # In the network's unit the largest baseline is depth / ratio.
    low, high = math.log(0.5), math.log(200.0)
    for shrink in (2, 1):
        matching = PictureMatching([first], (images.shape[-2], images.shape[-1]), images[1:], intrinsics, depth, shrink)
        ratios = torch.linspace(low, high, candidates).exp()
        units = [baseline * float(ratio) / depth for ratio in ratios]
        losses = torch.tensor([matching.error(_in_unit(poses, unit)) for unit in units])
        best = int(losses.argmin())
        low, high = (math.log(float(ratios[i])) for i in (max(best - 1, 0), min(best + 1, candidates - 1)))
    return torch.tensor(units[best]).to(images)


def view_part(gaussians: Gaussians, view: int, views: int) -> Gaussians:
    """The Gaussians of one view."""
    count = gaussians.count // views
    return gaussians._map(lambda tensor: tensor[:, view * count : (view + 1) * count].detach())


def _in_unit(poses: Tensor, unit: float) -> Tensor:
    """Poses (..., 4, 4) with their positions divided by a unit."""
    divided = poses.clone()
    divided[..., :3, 3] /= unit
    return divided


def _median_depth(part: Gaussians, camera_to_world: Tensor) -> float:
    return float(apply_transform(invert_rigid(camera_to_world), part.means[0])[..., 2].median())
