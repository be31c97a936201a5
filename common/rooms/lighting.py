"""Light at surface points: point lights with soft shadows, ambient light, corners that darken, highlights.

Shadows come from one cube of depths per light, cast once per room with the same caster as the images. Looking a point
up in it costs a few reads, however many primitives there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.rooms.primitives import Lights, Room
from common.rooms.raycast import RayGrid, cast

_BIAS = 0.03
"""Metres by which a point is moved off its surface before it looks for the light."""


@dataclass
class ShadowCubes:
    """Depth seen from each light towards the six sides of a cube."""

    depth: Tensor
    """(L * 6 * size * size,) float32: distance along the major axis of the direction."""
    size: int
    reach: float = 0.985
    """Share of its distance from the light up to which a point must be free to be lit, which forgives coarse texels."""


def shadow_cubes(scene: Room, size: int = 128) -> ShadowCubes:
    """Cast the shadow cubes of all lights of a room; cubes finer than 128 forgive less."""
    device = scene.lights.position.device
    step = 2 / size
    axes = torch.zeros(6, 3, 3, device=device)
    for side in range(6):
        axis = side // 2
        right, down = (axis + 1) % 3, (axis + 2) % 3
        axes[side, right, 0] = axes[side, down, 1] = step
        axes[side, right, 2] = axes[side, down, 2] = step / 2 - 1
        axes[side, axis, 2] = 1.0 if side % 2 else -1.0
    solids = scene.primitives[scene.primitives.casts_shadow]
    depths = []
    for position in scene.lights.position:
        grid = RayGrid(position.expand(6, 3), axes, (size, size))
        depths.append(cast(solids, grid).depth.reshape(-1))
    return ShadowCubes(torch.cat(depths), size, 0.985 if size <= 128 else 1 - 0.015 * 128 / size)


def _visible(cubes: ShadowCubes, light: int, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Share (n,) of light 0..1 that arrives at offsets x, y, z (n,) from a light; blends four depths of the cube."""
    ax, ay, az = x.abs(), y.abs(), z.abs()
    along_x, along_y = (ax >= ay) & (ax >= az), ay >= az
    major = torch.where(along_x, x, torch.where(along_y, y, z))
    right = torch.where(along_x, y, torch.where(along_y, z, x))
    down = torch.where(along_x, z, torch.where(along_y, x, y))
    distance = major.abs()
    scale = cubes.size / 2 / distance
    u = (right * scale + (cubes.size / 2 - 0.5)).clamp(0, cubes.size - 1.001)
    v = (down * scale + (cubes.size / 2 - 0.5)).clamp(0, cubes.size - 1.001)
    left, top = u.floor(), v.floor()
    u, v = u - left, v - top
    side = torch.where(along_x, 0, torch.where(along_y, 2, 4)) + (major > 0)
    base = (side + 6 * light) * cubes.size**2 + (top * cubes.size + left).long()
    near = distance * cubes.reach - 0.01
    lit = [(cubes.depth.index_select(0, base + shift) > near).float() for shift in (0, 1, cubes.size, cubes.size + 1)]
    return torch.lerp(torch.lerp(lit[0], lit[1], u), torch.lerp(lit[2], lit[3], u), v)


def irradiance(scene: Room, cubes: ShadowCubes, point: Tensor, normal: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """Diffuse light (3, n) and highlight (3, n) at points, normals and unit view directions (3, n) from the camera."""
    lights: Lights = scene.lights
    ambient = lights.ambient.mean(0)[:, None]
    diffuse = ambient * (_openness(scene, point, normal) * (1 + 0.25 * normal[2]))
    highlight = torch.zeros_like(diffuse)
    mirrored = view - normal * (2 * (view * normal).sum(0))
    start = point + normal * _BIAS
    for index in range(len(lights.position)):
        offset = start - lights.position[index][:, None]
        square = (offset * offset).sum(0)
        inverse = (square + 1e-6).rsqrt()
        cosine = -(offset * normal).sum(0) * inverse
        falloff = _visible(cubes, index, *offset) / (0.6 + 0.35 * square)
        color = lights.color[index][:, None]
        diffuse += color * (falloff * (0.12 + 0.88 * cosine).clamp_min(0))
        shine = (-(offset * mirrored).sum(0) * inverse).clamp_min(0)
        for _ in range(4):
            shine = shine * shine
        highlight += color * (falloff * shine)
    return diffuse, highlight


def _openness(scene: Room, point: Tensor, normal: Tensor) -> Tensor:
    """Openness 0..1 of the room around points (3, n): lower near walls, floor and ceiling that the point faces."""
    half = scene.primitives.half_size[0][:, None]
    center = scene.primitives.center[0][:, None]
    gap = (half - (point - center).abs()).clamp_min(0)
    facing = 1 - normal.abs()
    return (1 - 0.45 * facing * torch.exp(gap * -4.0)).prod(0)
