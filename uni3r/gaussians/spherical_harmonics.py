"""Real spherical harmonics of any degree: their values, the colours that they give, and their rotation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

CONSTANT = 0.5 / math.sqrt(math.pi)
"""The harmonic of degree 0."""


def spherical_harmonics(directions: Tensor, degree: int) -> Tensor:
    """Orthonormal real spherical harmonics, by recurrence in Cartesian coordinates (as in Sloan 2013).

    The order is that of 3-D Gaussian splatting: l from 0, m from -l to l, with the Condon-Shortley sign, so that those
    of degree 1 are proportional to (-y, z, -x).

    Args:
        directions: (..., 3) of unit length.
        degree: 0 or more.

    Returns:
        (..., (degree + 1)^2).
    """
    x, y, z = directions.unbind(-1)
    harmonics: list[Tensor] = [torch.empty(0)] * (degree + 1) ** 2
    real, imaginary = torch.ones_like(z), torch.zeros_like(z)  # of (-x - iy)^m, including the sign
    diagonal = CONSTANT  # of the polynomials in z, at l = m
    for m in range(degree + 1):
        previous, current = torch.zeros_like(z), torch.full_like(z, diagonal)
        for order in range(m, degree + 1):
            if m == 0:
                harmonics[order * (order + 1)] = current
            else:
                harmonics[order * (order + 1) + m] = current * real
                harmonics[order * (order + 1) - m] = current * imaginary
            ahead, here = _step(order + 1, m), _step(order, m)
            previous, current = current, ahead * (z * current - previous / here)
        real, imaginary = y * imaginary - x * real, -x * imaginary - y * real
        # The two real harmonics of m > 0 share the norm of one complex harmonic, hence the factor sqrt(2) from m = 0.
        diagonal *= math.sqrt((2 * m + 3) / (2 * m + 2)) * (math.sqrt(2) if m == 0 else 1)
    return torch.stack(harmonics, dim=-1)


def view_colours(harmonics: Tensor, means: Tensor, camera_centre: Tensor, degree: int) -> Tensor:
    """Colours of Gaussians seen from a camera: max(0, harmonics + 1/2), as in 3-D Gaussian splatting.

    Args:
        harmonics: (N, K, 3) coefficients, K at least (degree + 1)^2; those above the degree are not read.
        means: (N, 3) in the world.
        camera_centre: (3,) in the world.
        degree: degree to evaluate; 0 ignores the direction.

    Returns:
        (N, 3) RGB, at least 0, not clamped above.
    """
    if degree == 0:
        return (CONSTANT * harmonics[:, 0] + 0.5).clamp(min=0)
    basis = spherical_harmonics(F.normalize(means - camera_centre, dim=-1), degree)
    return (torch.einsum("nk,nkc->nc", basis, harmonics[:, : basis.shape[-1]]) + 0.5).clamp(min=0)


def rotate_harmonics(harmonics: Tensor, rotation: Tensor) -> Tensor:
    """Rotate spherical harmonics, exactly for every degree.

    Rotation maps the harmonics of a degree to sums of harmonics of the same degree, so the new coefficients follow from
    function values in enough directions, here by least squares over a fixed, well spread set.

    Args:
        harmonics: (B, N, K, 3), K = (degree + 1)^2.
        rotation: (3, 3) or (B, 3, 3) from the current world to the new one.

    Returns:
        (B, N, K, 3).
    """
    degree = degree_of(harmonics.shape[-2])
    if degree == 0:
        return harmonics
    directions = _spread_directions(4 * (degree + 1) ** 2).to(rotation.device)
    # The new function at direction d equals the old one at R^T d.
    old = spherical_harmonics(directions @ rotation.double(), degree)
    basis = spherical_harmonics(directions, degree)
    turn = torch.linalg.pinv(basis) @ old  # (.., K, K), block diagonal by degree
    return (turn[..., None, :, :] if rotation.ndim == 3 else turn).to(harmonics) @ harmonics


def degree_of(num_coefficients: int) -> int:
    """Degree of a full set of coefficients.

    Raises:
        ValueError: the number is not a square.
    """
    degree = math.isqrt(num_coefficients) - 1
    if degree < 0 or (degree + 1) ** 2 != num_coefficients:
        raise ValueError(f"harmonics: expected (degree + 1)^2 coefficients (1, 4, 9, ..), got {num_coefficients}")
    return degree


def _step(order: int, m: int) -> float:
    """Norm of the recurrence over the degree: z P(l-1) = P(l) / a(l) + P(l-2) / a(l-1)."""
    if order == m:
        return math.inf
    return math.sqrt((4 * order * order - 1) / (order * order - m * m))


def _spread_directions(count: int) -> Tensor:
    """(count, 3) unit vectors on a Fibonacci spiral, float64."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * index / count
    angle = index * torch.pi * (1 + 5**0.5)
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=-1)
