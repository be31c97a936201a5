"""Direct image alignment: motion between a coloured surface and an image, by Gauss-Newton on the colours.

Every point of the surface is projected into the image, where its colour should match. Image gradients give the
derivative of the error with respect to the motion, so a few small least-squares problems solve it without rendering in
between (Lucas and Kanade 1981; for surfaces with depth, Kerl et al., "Robust odometry estimation for RGB-D
cameras", ICRA 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.geometry.transforms import apply_transform, make_transform
from uni3r.posing.settings import DirectSettings

_LEAST_DEPTH = 1e-2
"""Smallest depth of points that are used, as a share of the median depth."""
_DAMPING, _MOST_DAMPING = 1e-3, 1e3


@dataclass(frozen=True)
class _Residuals:
    cost: float
    """Mean robust error of the points inside the image."""
    normal: Tensor
    """(6, 6) J^T W J of the robust weights W; translations first."""
    slope: Tensor
    """(6,) J^T W r."""


@torch.no_grad()
def align_directly(
    points: Tensor, colors: Tensor, image: Tensor, intrinsics: Tensor, settings: DirectSettings | None = None
) -> Tensor:
    """Camera motion for which projected points match the colours of the image.

    Colours may differ by a factor per channel, since exposure varies between images.

    Args:
        points: (P, 3) in any frame near that of the camera, in any unit.
        colors: (P, 3) in [0, 1].
        image: (3, H, W) in [0, 1].
        intrinsics: (3, 3), pixels.
        settings: see `DirectSettings`.

    Returns:
        (4, 4) transform from the frame of the points to the camera; the identity if nothing is better.
    """
    settings = settings or DirectSettings()
    unit = points[:, 2].median().abs().clamp_min(1e-12)  # so that rotations and translations have similar magnitude
    points = points / unit
    layers = torch.cat([image, *_slopes(image)])
    motion = torch.eye(4).to(points)
    current = _residuals(apply_transform(motion, points), colors, layers, intrinsics, settings.outlier)
    damping = _DAMPING
    for _ in range(settings.iterations):
        if current is None or damping > _MOST_DAMPING:
            break
        damped = current.normal + torch.diag(damping * current.normal.diagonal() + 1e-9)
        step = _exponential(torch.linalg.solve(damped.double(), -current.slope.double())).to(motion)
        candidate = step @ motion
        trial = _residuals(apply_transform(candidate, points), colors, layers, intrinsics, settings.outlier)
        if trial is None or not trial.cost < current.cost:
            damping *= 10
            continue
        gained = 1 - trial.cost / current.cost
        motion, current, damping = candidate, trial, max(damping / 10, 1e-6)
        if gained < settings.tolerance:
            break
    motion[:3, 3] *= unit
    return motion


def _residuals(points: Tensor, colors: Tensor, layers: Tensor, intrinsics: Tensor, outlier: float) -> _Residuals | None:
    """Errors of points (P, 3) in the camera's frame; None if too few of them are visible."""
    height, width = layers.shape[-2:]
    x, y, z = points.unbind(-1)
    depth = z.clamp_min(_LEAST_DEPTH)
    fx, fy, (cx, cy) = intrinsics[0, 0], intrinsics[1, 1], intrinsics[:2, 2]
    u, v = fx * x / depth + cx, fy * y / depth + cy
    seen = (z > _LEAST_DEPTH) & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    if int(seen.sum()) < max(12, len(points) // 4):
        return None
    x, y, depth, u, v, colors = x[seen], y[seen], depth[seen], u[seen], v[seen], colors[seen]
    grid = torch.stack([2 * u / max(width - 1, 1) - 1, 2 * v / max(height - 1, 1) - 1], dim=-1)
    sampled = F.grid_sample(layers[None], grid[None, None], align_corners=True)[0, :, 0].T
    seen_colors, along_x, along_y = sampled.split(3, dim=-1)
    gain = (seen_colors * colors).sum(dim=0) / colors.square().sum(dim=0).clamp_min(1e-6)
    difference = seen_colors - gain * colors  # (P, 3)
    size = difference.abs()
    weight = outlier / size.clamp_min(outlier)
    cost = torch.where(size < outlier, 0.5 * size.square(), outlier * (size - 0.5 * outlier)).mean()
    # Derivatives of the pixel with respect to translation and rotation of the points, (P, 6).
    zero, near, a, b = torch.zeros_like(u), 1 / depth, x / depth, y / depth
    du = fx * torch.stack([near, zero, -a * near, -a * b, 1 + a * a, -b], dim=-1)
    dv = fy * torch.stack([zero, near, -b * near, -1 - b * b, a * b, a], dim=-1)
    jacobian = along_x[..., None] * du[:, None] + along_y[..., None] * dv[:, None]  # (P, 3, 6)
    weighted = weight[..., None] * jacobian
    return _Residuals(
        float(cost), torch.einsum("pci,pcj->ij", weighted, jacobian), torch.einsum("pci,pc->i", weighted, difference)
    )


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of (3, H, W) along x and y, half of them at the borders."""
    padded = F.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    return (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def _exponential(twist: Tensor) -> Tensor:
    """(4, 4) motion of a small (6,) translation and rotation vector."""
    x, y, z = twist[3:]
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    return make_transform(torch.linalg.matrix_exp(skew), twist[:3])
