"""Poses of the context views, refined without any truth: each view must look like what the views before it render.

A network's own poses of widely spaced views are off by several degrees, and two copies of a thing side by side are what
one sees. The pictures themselves know better. Going through the views in order, the camera of each is moved until the
Gaussians of the earlier views, rendered from there, match its picture where they cover it, from coarse to fine pictures
so that large errors are found too. It is the published test-time alignment (`uni3r.pose_alignment`), turned on the
input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from common.geometry.transforms import apply_transform, invert_rigid
from common.views import Cameras
from uni3r.gaussians import Gaussians
from uni3r.pose_alignment import PoseAlignmentSettings, align_poses
from uni3r.rasterization import Rendering, rasterize

_NEAR = 0.2
"""Of what is drawn, as a share of the median depth: splats right before a camera that is still lost cost much time."""

_LEAST_COVERAGE = 0.3
"""Share of a picture that must be covered for its colour error to say something."""


@dataclass(frozen=True)
class RefinementSettings:
    """Coarse to fine."""

    shrink: tuple[int, ...] = (8, 4, 2)
    """Factors by which pictures are reduced, one after the other."""
    steps: int = 40
    """Renderings per size."""
    learning_rate: float = 1e-2
    """On rotations, and on translations in units of the median depth."""
    min_coverage: float = _LEAST_COVERAGE
    """A view of which the earlier ones cover less keeps its pose."""

    def __post_init__(self) -> None:
        if self.steps < 1 or any(factor < 1 for factor in self.shrink):
            raise ValueError("steps and the factors of shrink must be at least 1")


def refine_context(
    gaussians: Gaussians, cameras: Cameras, images: Tensor, settings: RefinementSettings | None = None
) -> Tensor:
    """Better poses of the views that Gaussians came from.

    Args:
        gaussians: one scene (1, V * H * W), view by view, with centres on the rays of their pixels.
        cameras: (V,) by which these lie; all finite.
        images: (V, 3, H, W) in [0, 1].
        settings: see `RefinementSettings`.

    Returns:
        (V, 4, 4) camera-to-world; the first is as it was.
    """
    settings = settings or RefinementSettings()
    views = len(images)
    grid = (images.shape[-2], images.shape[-1])
    parts = [view_part(gaussians, view, views) for view in range(views)]
    unit = _median_depth(parts[0], cameras.camera_to_world[0])
    poses = [cameras.camera_to_world[0]]
    placed = [parts[0]]
    for view in range(1, views):
        old = cameras.camera_to_world[view]
        # A network may be farther off than the camera has moved: the pose of the view before is the other start.
        starts = torch.stack([old, poses[-1]])
        pose = _refine_view(placed, grid, starts, cameras.intrinsics[view], images[view], unit, settings)
        poses.append(pose)
        placed.append(parts[view].transform(pose @ invert_rigid(old)))
    return torch.stack(poses)


def _refine_view(
    placed: Sequence[Gaussians],
    grid: tuple[int, int],
    starts: Tensor,
    intrinsics: Tensor,
    image: Tensor,
    unit: float,
    settings: RefinementSettings,
) -> Tensor:
    """(4, 4) pose of one picture (3, H, W), from the best of starts (S, 4, 4); the first where nothing is better."""
    poses = starts
    for factor in settings.shrink:
        small = F.interpolate(image[None], scale_factor=1 / factor, mode="area")
        # Half as many Gaussians a side as there are pixels would leave holes, all of them take the time of full size.
        scene = Gaussians.merge([_thinned(part, grid, max(1, factor // 2)) for part in placed])
        matching = _Matching(scene, small, unit)
        small_intrinsics = _reduced(intrinsics, factor)[None]
        options = PoseAlignmentSettings(settings.steps, settings.learning_rate, unit)
        candidates = list(poses)
        for pose in poses:
            camera = Cameras(pose[None], small_intrinsics)
            if matching.error(camera, settings.min_coverage) < math.inf:
                candidates.append(align_poses(matching, camera, small, options).cameras.camera_to_world[0])
        errors = [matching.error(Cameras(pose[None], small_intrinsics), settings.min_coverage) for pose in candidates]
        poses = candidates[min(range(len(errors)), key=errors.__getitem__)][None]
    return poses[0]


class _Matching:
    """Renders a scene; what it does not cover is filled from the picture, and so pulls at nothing."""

    def __init__(self, scene: Gaussians, image: Tensor, unit: float) -> None:
        self.scene, self.image, self.unit = scene._map(lambda tensor: tensor.detach()), image, unit
        self.size = (image.shape[-2], image.shape[-1])

    def __call__(self, cameras: Cameras) -> Tensor:
        return self.compare(cameras)[0]

    @torch.no_grad()
    def error(self, cameras: Cameras, min_coverage: float = _LEAST_COVERAGE) -> float:
        """Mean colour error of what is covered; infinite where hardly anything is, since that says nothing."""
        picture, covered = self.compare(cameras)
        if float(covered.mean(dim=(-2, -1)).min()) < min_coverage:
            return math.inf
        return float((picture - self.image).abs().mean(dim=1).sum() / covered.sum())

    def compare(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Pictures (M, 3, H, W), and where they are covered (M, H, W), 1 or 0."""
        rendering = self._render(cameras)
        alpha = rendering.alpha[0][:, None]
        # Where little is covered, closing in on the picture by covering less must not pay: full weight or none.
        covered = (alpha.detach() > 0.5).float()
        color = rendering.image[0] / alpha.clamp_min(0.1)
        picture = covered * color * self._gain(color.detach(), covered) + (1 - covered) * self.image
        return picture, covered[:, 0]

    def _gain(self, color: Tensor, covered: Tensor) -> Tensor:
        """(M, 3, 1, 1) least-squares factors per colour: cameras expose every picture anew."""
        product = (covered * color * self.image).sum(dim=(-2, -1), keepdim=True)
        return product / (covered * color.square()).sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)

    def _render(self, cameras: Cameras) -> Rendering:
        lifted = Cameras(cameras.camera_to_world[None], cameras.intrinsics[None])
        return rasterize(self.scene, lifted, self.size, near=_NEAR * self.unit, far=100 * self.unit, sh_degree=0)


def search_unit(first: Gaussians, cameras: Cameras, images: Tensor, candidates: int = 16) -> Tensor | None:
    """The one number that known poses leave open: their unit per unit of the network.

    Depth and baseline must agree: the Gaussians of view 0, rendered from the other cameras, match the pictures best at
    the right ratio. It is searched in even steps of its logarithm, then between the neighbours of the best.

    Args:
        first: Gaussians (1, H * W) of view 0.
        cameras: (V,) known, in the frame of view 0, any unit.
        images: (V, 3, H, W) in [0, 1].
        candidates: ratios per round; median depth over the largest baseline goes from 0.5 to 200.

    Returns:
        Scalar; None where the cameras do not move.
    """
    depth = _median_depth(first, cameras.camera_to_world[0])
    baseline = float(cameras.camera_to_world[:, :3, 3].norm(dim=-1).max())
    if baseline < 1e-6:
        return None
    others = Cameras(cameras.camera_to_world[1:], cameras.intrinsics[1:])
    matching = _Matching(first, images[1:], depth)
    # In the network's unit the largest baseline is depth / ratio.
    low, high = math.log(0.5), math.log(200.0)
    for _ in range(2):
        ratios = torch.linspace(low, high, candidates).exp()
        units = [baseline * float(ratio) / depth for ratio in ratios]
        losses = torch.tensor([matching.error(_over(others, unit)) for unit in units])
        best = int(losses.argmin())
        low, high = (math.log(float(ratios[i])) for i in (max(best - 1, 0), min(best + 1, candidates - 1)))
    return torch.tensor(units[best]).to(images)


def _over(cameras: Cameras, unit: float) -> Cameras:
    """Cameras with their positions divided by a unit."""
    poses = cameras.camera_to_world.clone()
    poses[:, :3, 3] /= unit
    return Cameras(poses, cameras.intrinsics)


def _thinned(part: Gaussians, grid: tuple[int, int], step: int) -> Gaussians:
    """Every so many Gaussians of a view in both directions of its pixels, enlarged to fill the place of the others."""
    rows, columns = (torch.arange(step // 2, side, step, device=part.means.device) for side in grid)
    fewer = part.take((rows[:, None] * grid[1] + columns).flatten())
    return replace(fewer, scales=fewer.scales * step)


def view_part(gaussians: Gaussians, view: int, views: int) -> Gaussians:
    """The Gaussians of one view."""
    count = gaussians.count // views
    return gaussians._map(lambda tensor: tensor[:, view * count : (view + 1) * count].detach())


def _median_depth(part: Gaussians, camera_to_world: Tensor) -> float:
    return float(apply_transform(invert_rigid(camera_to_world), part.means[0])[..., 2].median())


def _reduced(intrinsics: Tensor, factor: int) -> Tensor:
    """Intrinsics of a picture reduced so many times (pixel centres at whole numbers)."""
    scale = torch.tensor([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]).to(intrinsics)
    moved = scale @ intrinsics
    moved[..., :2, :] = moved[..., :2, :] / factor
    return torch.linalg.inv(scale) @ moved
