"""Projection of Gaussians to splats in an image: elliptical weighted average (Zwicker et al. 2001; Kerbl et al. 2023).

Tensors have the Gaussians along the last axis, so that many small matrices become a few long vectors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

JACOBIAN_MARGIN = 0.15
"""Share of the image size by which a centre may lie outside before the Jacobian's argument is clamped."""


class Splats(NamedTuple):
    """Projections of N Gaussians in one camera.

    The exponent of a splat at a pixel offset (dx, dy) from its centre is -(u^2 + v^2) / 2 with u = xx dx + xy dy and
    v = yy dy. The triangular factor (xx, xy, yy) of the inverse covariance ("conic") is used instead, because it can
    be computed without the cancellation that ruins the conic of long thin splats in float32.
    """

    centres: Tensor
    """(N, 2) as (x, y), pixels; the centre of the top left pixel is (0.5, 0.5)."""
    factors: Tensor
    """(N, 3) as (xx, xy, yy), 1 / pixel."""
    variances: Tensor
    """(N, 2) along x and y, square pixels."""
    depths: Tensor
    """(N,) along z."""
    in_range: Tensor
    """(N,) bool, between the near and the far plane; other fields are meaningless where false."""


def project_gaussians(
    means: Tensor,
    scales: Tensor,
    rotations: Tensor,
    view_matrix: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    near: float,
    far: float,
    eps2d: float,
) -> Splats:
    """Project Gaussians into one camera. Differentiable in all tensors.

    Args:
        means: (N, 3) in the world.
        scales: (N, 3) standard deviations.
        rotations: (N, 4) quaternions (w, x, y, z) of any length but zero.
        view_matrix: (4, 4) world to camera, OpenCV axes.
        intrinsics: (3, 3) in pixels, centre of the top left pixel at (0.5, 0.5). Skew is not read.
        size: (height, width) of the image.
        near: near plane.
        far: far plane.
        eps2d: variance added along both axes of the image, square pixels.
    """
    rotation = view_matrix[:3, :3]
    x, y, depth = (rotation @ means.T + view_matrix[:3, 3:]).unbind()
    in_range = (depth >= near) & (depth <= far)
    z = torch.where(in_range, depth, 1.0)  # points behind the camera must not divide by zero, not even in the gradient
    focal, principal = intrinsics[[0, 1], [0, 1]], intrinsics[:2, 2]
    slopes = torch.stack([x, y]) / z
    centres = focal[:, None] * slopes + principal[:, None]

    # Rows of the Jacobian times the axes of the Gaussian; the 2-D covariance is the product of this with itself.
    axes = torch.einsum("ij,jkn->ikn", rotation, gaussian_axes(scales, rotations))
    held = _hold(slopes, focal, principal, size)
    rows = (focal[:, None] / z)[:, None] * (axes[:2] - held[:, None] * axes[2])
    xx, yy = rows.square().sum(1)
    xy = (rows[0] * rows[1]).sum(0)
    # Cauchy-Binet avoids cancellation: det(A A^T) is the squared norm of the cross product of the rows of A.
    det = torch.linalg.cross(rows[0], rows[1], dim=0).square().sum(0) + eps2d * (xx + yy) + eps2d**2
    xx, yy = xx + eps2d, yy + eps2d
    first = (yy / det).sqrt()
    factors = torch.stack([first, -first * xy / yy, yy.rsqrt()], dim=1)
    return Splats(centres.T, factors, torch.stack([xx, yy], dim=1), depth, in_range)


def gaussian_axes(scales: Tensor, rotations: Tensor) -> Tensor:
    """Axes of Gaussians as columns, scaled to one standard deviation; their covariance is A A^T.

    Args:
        scales: (N, 3).
        rotations: (N, 4) quaternions (w, x, y, z) of any length but zero.

    Returns:
        (3, 3, N): coordinate, axis, Gaussian.
    """
    # In two steps, because the square of a very short quaternion underflows in float32.
    largest = rotations.detach().abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(rotations.dtype).tiny)
    w, x, y, z = F.normalize(rotations / largest, dim=1).T.contiguous().unbind()
    xx, yy, zz = 2 * x * x, 2 * y * y, 2 * z * z
    xy, xz, yz = 2 * x * y, 2 * x * z, 2 * y * z
    wx, wy, wz = 2 * w * x, 2 * w * y, 2 * w * z
    entries = [1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx, 1 - xx - yy]
    return torch.stack(entries).view(3, 3, -1) * scales.T


def _hold(slopes: Tensor, focal: Tensor, principal: Tensor, size: tuple[int, int]) -> Tensor:
    """Slopes x / z and y / z, (2, N), clamped to near the image, where the linearized projection is valid."""
    extent = slopes.new_tensor([size[1], size[0]])
    margin = JACOBIAN_MARGIN * extent / focal
    return slopes.clamp(-(principal / focal + margin)[:, None], ((extent - principal) / focal + margin)[:, None])
