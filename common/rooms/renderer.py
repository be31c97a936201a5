"""Pictures, depths and labels of a room from given cameras."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.rooms.lighting import ShadowCubes, irradiance, shadow_cubes
from common.rooms.looks.textures import TextureBank, color_photographs, mix_colors, sample, texture_bank
from common.rooms.primitives import CYLINDER, ELLIPSOID, SHELL, Room
from common.rooms.raycast import RayGrid, cast

_SHELL_FACES, _SHELL_FLOOR = 6, 4
"""Number of surfaces of the shell, which come first, and that of its floor."""


@dataclass
class Rendering:
    """Renderings of V cameras."""

    radiance: Tensor
    """(V, 3, H, W) float32 linear RGB, not bounded above."""
    depth: Tensor
    """(V, H, W) float32, metres along z; 0 where the sky is; never 0 in a closed room."""
    labels: Tensor
    """(V, H, W) int64."""


class RoomRenderer:
    """Renders one room; textures and shadows are prepared once.

    A scene with photographs comes with the bank that holds them. The device is that of the scene. On the CPU views
    are rendered one by one (the working set stays in the cache), on a GPU in groups.
    """

    def __init__(self, scene: Room, shadow_size: int = 128, bank: TextureBank | None = None) -> None:
        self.scene = scene
        device = scene.primitives.center.device
        self.bank: TextureBank = texture_bank(0, str(device)) if bank is None else bank.to(device)
        self.photographs = bank is not None
        self.shadows: ShadowCubes = shadow_cubes(scene, shadow_size)
        self.group = 1 if device.type == "cpu" else 16

    @torch.no_grad()
    def render(self, camera_to_world: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Rendering:
        """Render poses (V, 4, 4) and intrinsics (V, 3, 3) at a size (height, width)."""
        device = self.scene.primitives.center.device
        grid = RayGrid.from_cameras(camera_to_world.to(device), intrinsics.to(device), size)
        groups = [grid[start : start + self.group] for start in range(0, len(camera_to_world), self.group)]
        radiance, depth, labels = zip(*(self._render(group) for group in groups), strict=True)
        return Rendering(torch.cat(radiance), torch.cat(depth), torch.cat(labels))

    def _render(self, grid: RayGrid) -> tuple[Tensor, Tensor, Tensor]:
        hits = cast(self.scene.primitives, grid)
        depth, primitive = hits.depth.reshape(-1), hits.primitive.reshape(-1)
        direction = grid.directions()
        shape = direction.shape[1:]
        point = (grid.origin.T[:, :, None, None] + direction * hits.depth).reshape(3, -1)
        direction = direction.reshape(3, -1)
        length = _length(direction)
        local, local_normal, normal = self._geometry(primitive, point)

        surface = self._surface(primitive, local_normal)
        facing = -(direction * normal).sum(0) / length
        pixel = depth * grid.axes[0, :, 0].norm() / facing.clamp(0.1, 1).sqrt()
        color, gloss = self._material(surface, local, local_normal, pixel)
        diffuse, highlight = irradiance(self.scene, self.shadows, point, normal, direction / length)
        glow = self.scene.surfaces.emission.index_select(0, surface)
        radiance = color * (diffuse + glow) + gloss * highlight
        labels = self.scene.surfaces.label.index_select(0, surface)
        if self.scene.sky:
            depth = torch.where((surface < _SHELL_FACES) & (surface != _SHELL_FLOOR), 0.0, depth)
        return radiance.view(3, *shape).transpose(0, 1), depth.view(shape), labels.view(shape)

    def _geometry(self, primitive: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Local point, local normal and world normal (3, n) of points (3, n) on primitives (n,)."""
        table = self.scene.primitives
        kind = table.kind.index_select(0, primitive)
        half = _columns(table.half_size, primitive)
        cos, sin = _columns(table.turn, primitive)
        x, y, z = point - _columns(table.center, primitive)
        local = torch.stack((cos * x + sin * y, cos * y - sin * x, z))
        unit = local / half
        size = unit.abs()
        x_face, y_face = (size[0] > size[1]) & (size[0] > size[2]), size[1] > size[2]
        normal = torch.stack((x_face, ~x_face & y_face, ~x_face & ~y_face)) * unit.sign()
        normal = normal * (1 - 2 * (kind == SHELL).float())
        curved = torch.nonzero((kind == CYLINDER) | (kind == ELLIPSOID)).squeeze(-1)
        if len(curved):
            unit, half = unit.index_select(1, curved), half.index_select(1, curved)
            normal.index_copy_(1, curved, _curved_normal(unit, half, kind.index_select(0, curved) == CYLINDER))
        x, y, z = normal
        return local, normal, torch.stack((cos * x - sin * y, sin * x + cos * y, z))

    def _surface(self, primitive: Tensor, normal: Tensor) -> Tensor:
        """Surface index (n,): that of the primitive, for the shell that of the face (its normals point inwards)."""
        axis = (normal[1].abs() > 0.5) + 2 * (normal[2].abs() > 0.5)
        face = 2 * axis + (normal.sum(0) < 0)
        return self.scene.primitives.surface.index_select(0, primitive) + torch.where(primitive == 0, face, 0)

    def _material(self, surface: Tensor, local: Tensor, normal: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
        """Reflectance (3, n) and gloss (n,) at local points; pixel is the size in metres of a pixel on the surface."""
        table = self.scene.surfaces
        along = normal.abs()
        x_face, y_face = (along[0] > along[1]) & (along[0] > along[2]), along[1] > along[2]
        x, y, z = local
        u = torch.where(x_face, y, x)
        v = torch.where(x_face | y_face, -z, y)
        frequency = _columns(table.frequency, surface)
        cos, sin = _columns(table.turn, surface)
        offset = _columns(table.offset, surface)
        across = (cos * u + sin * v) * frequency[0] + offset[0]
        down = (cos * v - sin * u) * frequency[1] + offset[1]
        texture = table.texture.index_select(0, surface)
        texels = sample(self.bank, texture, across, down, pixel * frequency.amax(0))
        colors = mix_colors(texels, table.colors, surface)
        if self.photographs:
            color_photographs(colors, texels, table.colors, texture, surface)
        return colors, table.gloss.index_select(0, surface)


def _curved_normal(unit: Tensor, half: Tensor, cylinder: Tensor) -> Tensor:
    """Normals (3, n) of cylinders and, elsewhere, ellipsoids at points of the unit shape; half sizes (3, n)."""
    normal = unit / half
    on_cap = cylinder & (unit[2].abs() > _length(unit[:2]))
    normal[2] = torch.where(cylinder, 0, normal[2])
    normal = torch.where(on_cap, torch.stack((0 * unit[0], 0 * unit[1], unit[2].sign())), normal)
    return normal / _length(normal)


def _length(vectors: Tensor) -> Tensor:
    """Euclidean length (n,) of vectors (k, n), never 0; several times faster than `Tensor.norm` on this axis."""
    return (vectors * vectors).sum(0).clamp_min(1e-18).sqrt()


def _columns(table: Tensor, index: Tensor) -> Tensor:
    """Rows `index` (n,) of a table (rows, k), one component after the other: (k, n)."""
    return table.T.contiguous().index_select(1, index)
