"""Photometric error of Gaussians rendered from estimated cameras, and refinement of one camera by it.

The photometric part of `uni3r.posing.refinement`. Only view-independent colours are rendered, and small images use few
Gaussians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from common.geometry.cameras import unproject_depth
from common.geometry.transforms import invert_rigid
from common.views import Cameras
from uni3r.gaussians.gaussians import Gaussians
from uni3r.posing.direct_alignment import align_directly
from uni3r.posing.settings import LEAST_COVERAGE, DirectSettings
from uni3r.rasterization import Rendering, rasterize

_NEAR = 0.2
"""Near plane as a share of the median depth: huge splats in front of a badly placed camera are slow."""
_SOLID = 0.5
"""Opacity from which a pixel counts as covered."""
_PLATEAU = 0.995
"""Continue with another rendering only if the colour error falls below this share of the previous one."""


class PictureMatching:
    """A scene and images of it, both reduced in resolution."""

    def __init__(
        self,
        parts: Sequence[Gaussians],
        grid: tuple[int, int],
        images: Tensor,
        intrinsics: Tensor,
        unit: float,
        shrink: int = 1,
        min_coverage: float = LEAST_COVERAGE,
    ) -> None:
        """
        Args:
            parts: (1, h * w) Gaussians of some views each, one per pixel.
            grid: (h, w) of these pixels.
            images: (M, 3, H, W) in [0, 1].
            intrinsics: (M, 3, 3), pixels.
            unit: median depth.
            shrink: factor by which images are reduced.
            min_coverage: share of covered pixels below which the error is infinite.
        """
        # Twice the pixel spacing would leave holes between Gaussians; all of them would take as long as full size.
        self.scene = Gaussians.merge([_thinned(_bare(part), grid, max(1, shrink // 2)) for part in parts])
        self.images = images if shrink == 1 else F.interpolate(images, scale_factor=1 / shrink, mode="area")
        self.intrinsics = _reduced(intrinsics, shrink)
        self.unit, self.min_coverage = unit, min_coverage
        self.size = (self.images.shape[-2], self.images.shape[-1])

    def error(self, poses: Tensor) -> float:
        """Mean colour error of covered pixels, for poses (M, 4, 4); infinite if an image is hardly covered."""
        rendering = self._render(poses)
        return self._error(rendering, _covered(rendering))

    def is_better(self, pose: Tensor, other: Tensor) -> bool:
        """Whether one pose (4, 4) of the only image matches better than another, where both are covered.

        False if the other is hardly covered, as the errors are then not comparable.
        """
        ours, theirs = self._render(pose[None]), self._render(other[None])
        common = _covered(ours) * _covered(theirs)
        if float(common.mean()) < self.min_coverage:  # they see different parts of the scene
            return self._error(ours, _covered(ours)) < self._error(theirs, _covered(theirs)) < math.inf
        return self._error(ours, common) < self._error(theirs, common)

    def refine(self, pose: Tensor, renderings: int, settings: DirectSettings) -> tuple[Tensor, float]:
        """Refine the pose (4, 4) of the only image by alternating rendering and alignment; returns it and its error."""
        view = self._render(pose[None])
        best, error = pose, self._error(view, _covered(view))
        for _ in range(renderings):
            if error == math.inf:
                break
            pose = pose @ invert_rigid(self._motion(view, settings))
            view = self._render(pose[None])
            reached, before = self._error(view, _covered(view)), error
            if reached < error:
                best, error = pose, reached
            if not reached < _PLATEAU * before:
                break
        return best, error

    def _motion(self, view: Rendering, settings: DirectSettings) -> Tensor:
        """(4, 4) transform from the rendered camera to the camera that matches the image."""
        alpha = view.alpha[0, 0]
        solid = alpha > _SOLID
        points = unproject_depth(view.depth[0, 0] / alpha.clamp_min(_SOLID), self.intrinsics[0])[solid]
        colors = (view.image[0, 0] / alpha.clamp_min(_SOLID))[:, solid].T
        return align_directly(points, colors, self.images[0], self.intrinsics[0], settings)

    def _error(self, rendering: Rendering, counted: Tensor) -> float:
        """Mean colour error of the counted pixels (M, 1, H, W)."""
        if float(counted.mean(dim=(-2, -1)).min()) < max(self.min_coverage, 1e-6):
            return math.inf
        color = rendering.image[0] / rendering.alpha[0][:, None].clamp_min(_SOLID)
        # Exposure varies between images: least-squares factors per colour channel.
        product = (counted * color * self.images).sum(dim=(-2, -1), keepdim=True)
        gain = product / (counted * color.square()).sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)
        return float((counted * (gain * color - self.images)).abs().mean(dim=1).sum() / counted.sum())

    def _render(self, poses: Tensor) -> Rendering:
        cameras = Cameras(poses[None], self.intrinsics[None])
        return rasterize(self.scene, cameras, self.size, near=_NEAR * self.unit, far=100 * self.unit, sh_degree=0)


def _covered(rendering: Rendering) -> Tensor:
    """(M, 1, H, W), 1 or 0."""
    return (rendering.alpha[0][:, None] > _SOLID).float()


def _bare(part: Gaussians) -> Gaussians:
    """Gaussians without features and view-dependent colour."""
    bare = replace(part, features=None, harmonics=part.harmonics[:, :, :1])
    return bare._map(lambda tensor: tensor.detach())


def _thinned(part: Gaussians, grid: tuple[int, int], step: int) -> Gaussians:
    """Every ``step``-th Gaussian of a view in both directions, enlarged to fill the gaps."""
    rows, columns = (torch.arange(step // 2, side, step, device=part.means.device) for side in grid)
    fewer = part.take((rows[:, None] * grid[1] + columns).flatten())
    return replace(fewer, scales=fewer.scales * step)


def _reduced(intrinsics: Tensor, factor: int) -> Tensor:
    """Intrinsics (..., 3, 3) of images reduced by a factor (pixel centres at integers)."""
    scale = torch.tensor([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]).to(intrinsics)
    moved = scale @ intrinsics
    moved[..., :2, :] = moved[..., :2, :] / factor
    return torch.linalg.inv(scale) @ moved
