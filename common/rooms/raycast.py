"""Nearest hits of camera rays with the primitives of a room: exact, batched, culled by screen-space bounds.

Each primitive is tested only on the pixels inside the bounds of its projected bounding box. All these (primitive,
pixel) pairs of all views form one flat list, so that the cost follows the overdraw and not the number of primitives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.rooms.primitives import BOX, CYLINDER, ELLIPSOID, Primitives

NEAR = 0.02
"""Metres along the optical axis before which nothing is seen."""

_TINY = 1e-20
"""Added to directions before division: turns an exact 0, whose reciprocal would end in NaN, into a huge slope."""

_EDGES = tuple((corner, corner | 1 << axis) for axis in range(3) for corner in range(8) if not corner & 1 << axis)


@dataclass
class RayGrid:
    """Pixel rays of V pinhole views: origin + t (forward + u right + v down), so that t is the depth along z."""

    origin: Tensor
    """(V, 3) world."""
    axes: Tensor
    """(V, 3, 3) world; columns are right (per pixel), down (per pixel) and forward."""
    size: tuple[int, int]
    """(height, width)."""

    @classmethod
    def from_cameras(cls, camera_to_world: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> RayGrid:
        """Rays of OpenCV cameras: poses (V, 4, 4), intrinsics (V, 3, 3), centre of the first pixel at (0, 0)."""
        return cls(camera_to_world[:, :3, 3], camera_to_world[:, :3, :3] @ torch.linalg.inv(intrinsics), size)

    def __getitem__(self, index: slice) -> RayGrid:
        return RayGrid(self.origin[index], self.axes[index], self.size)

    def directions(self) -> Tensor:
        """(3, V, H, W) world directions with unit depth; the axis comes first so that components are contiguous."""
        height, width = self.size
        u = torch.arange(width, device=self.origin.device, dtype=torch.float32)
        v = torch.arange(height, device=self.origin.device, dtype=torch.float32)
        right, down, forward = self.axes.permute(2, 1, 0).unbind(0)
        rows = forward[:, :, None] + down[:, :, None] * v
        return rows[..., None] + right[:, :, None, None] * u


@dataclass
class Hits:
    """Nearest hit of every pixel."""

    depth: Tensor
    """(V, H, W) float32, metres along z."""
    primitive: Tensor
    """(V, H, W) int64."""


def cast(primitives: Primitives, grid: RayGrid) -> Hits:
    """Nearest hits of a ray grid. The origins must lie inside the room and outside of every solid."""
    height, width = grid.size
    views = grid.origin.shape[0]
    depth = _shell_depth(primitives, grid).reshape(-1)
    bounds = _screen_bounds(primitives, grid)
    visible = (bounds[..., 1] > bounds[..., 0]) & (bounds[..., 3] > bounds[..., 2])
    visible[:, 0] = False
    found = []
    for kind, intersect in ((BOX, _unit_box), (CYLINDER, _unit_cylinder), (ELLIPSOID, _unit_sphere)):
        view, index = torch.nonzero(visible & (primitives.kind == kind), as_tuple=True)
        if len(view):
            found.append(_pair_hits(primitives, grid, view, index, bounds[view, index], intersect))
    nearest = torch.zeros_like(depth, dtype=torch.int64)
    if found:
        distance, pixel, index = (torch.cat(column) for column in zip(*found, strict=True))
        depth.scatter_reduce_(0, pixel, distance, "amin")
        first = torch.nonzero(distance == depth.index_select(0, pixel)).squeeze(-1)
        nearest[pixel.index_select(0, first)] = index.index_select(0, first)
    return Hits(depth.view(views, height, width), nearest.view(views, height, width))


def _shell_depth(primitives: Primitives, grid: RayGrid) -> Tensor:
    """(V, H, W) depth of the room's own faces, seen from inside."""
    inverse = grid.directions().add_(_TINY).reciprocal_()
    offset = (primitives.center[0] - grid.origin).T[:, :, None, None]
    half = primitives.half_size[0].view(3, 1, 1, 1)
    return (offset * inverse + half * inverse.abs()).amin(0)


def _screen_bounds(primitives: Primitives, grid: RayGrid) -> Tensor:
    """(V, P, 4) int64 pixel bounds [u0, u1, v0, v1), empty where a primitive is out of sight."""
    height, width = grid.size
    corners = primitives.corners() - grid.origin[:, None, None]
    corners = torch.einsum("vij,vpcj->vpci", torch.linalg.inv(grid.axes), corners)
    start, end = corners[:, :, [edge[0] for edge in _EDGES]], corners[:, :, [edge[1] for edge in _EDGES]]
    rise = end[..., 2:] - start[..., 2:]
    rise = torch.where(rise.abs() < 1e-9, 1e-9, rise)
    crossing = start + (end - start) * ((NEAR - start[..., 2:]) / rise).clamp(0, 1)
    points = torch.cat(
        (torch.where(start[..., 2:] < NEAR, crossing, start), torch.where(end[..., 2:] < NEAR, crossing, end)), 2
    )
    seen = points[..., 2:] > NEAR * 0.999
    pixels = points[..., :2] / points[..., 2:].clamp_min(NEAR * 0.5)
    limit = torch.tensor([width, height], device=pixels.device, dtype=torch.float32)
    low = torch.where(seen, pixels, torch.inf).amin(2) - 0.01
    high = torch.where(seen, pixels, -torch.inf).amax(2) + 0.01
    low = torch.minimum(low.ceil().clamp_min(0), limit)
    high = torch.minimum(high.floor().clamp_min(-1) + 1, limit)
    return torch.stack((low[..., 0], high[..., 0], low[..., 1], high[..., 1]), -1).long()


def _pair_hits(primitives: Primitives, grid: RayGrid, view: Tensor, index: Tensor, bounds: Tensor, intersect):
    """Hits of N (view, primitive) pairs on the pixels inside their bounds: (depth, flat pixel, primitive)."""
    height, width = grid.size
    scale = primitives.half_size[index].reciprocal()
    origin = primitives.to_local(grid.origin[view] - primitives.center[index], index) * scale
    right, down, forward = (primitives.to_local(grid.axes[view, :, axis], index) * scale for axis in range(3))

    device = view.device
    columns, rows = bounds[:, 1] - bounds[:, 0], bounds[:, 3] - bounds[:, 2]
    pair = torch.repeat_interleave(torch.arange(len(rows), device=device), rows)  # of every pixel row
    v = torch.arange(len(pair), device=device) - (rows.cumsum(0) - rows - bounds[:, 2])[pair]
    columns = columns[pair]
    row = torch.repeat_interleave(torch.arange(len(pair), device=device), columns)  # of every pixel
    start = bounds[pair, 0] - (columns.cumsum(0) - columns)
    u = torch.arange(len(row), device=device) + start.index_select(0, row)
    pixel = u + ((view[pair] * height + v) * width).index_select(0, row)

    row_direction = (forward[pair] + down[pair] * v[:, None].float()).T.contiguous()
    row_right, row_origin = right[pair].T.contiguous(), origin[pair].T.contiguous()
    u = u.float()

    def spread(values: Tensor) -> Tensor:
        return values.index_select(0, row)  # several times faster than values[row]

    direction = [torch.addcmul(spread(row_direction[axis]), spread(row_right[axis]), u) for axis in range(3)]
    entry, leave = intersect([spread(row_origin[axis]) for axis in range(3)], direction)
    hit = torch.nonzero((entry < leave) & (entry > NEAR)).squeeze(-1)
    return entry.index_select(0, hit), pixel.index_select(0, hit), index[pair].index_select(0, row.index_select(0, hit))


def _slab(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Entry and exit of rays into -1 < x < 1 along one axis."""
    inverse = (direction + _TINY).reciprocal()
    middle = origin * inverse
    reach = inverse.abs()
    return -middle - reach, reach - middle


def _unit_box(origin: list[Tensor], direction: list[Tensor]) -> tuple[Tensor, Tensor]:
    slabs = [_slab(origin[axis], direction[axis]) for axis in range(3)]
    entry = torch.maximum(torch.maximum(slabs[0][0], slabs[1][0]), slabs[2][0])
    return entry, torch.minimum(torch.minimum(slabs[0][1], slabs[1][1]), slabs[2][1])


def _quadratic(a: Tensor, half_b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Both roots of a t^2 + 2 half_b t + c; NaN, which counts as a miss, where there are none."""
    root = (half_b * half_b - a * c).sqrt_()
    return (-half_b - root) / a, (root - half_b) / a


def _unit_cylinder(origin: list[Tensor], direction: list[Tensor]) -> tuple[Tensor, Tensor]:
    (x, y, z), (dx, dy, dz) = origin, direction
    entry, leave = _quadratic(dx * dx + dy * dy, x * dx + y * dy, x * x + y * y - 1)
    bottom, top = _slab(z, dz)
    return torch.maximum(entry, bottom), torch.minimum(leave, top)


def _unit_sphere(origin: list[Tensor], direction: list[Tensor]) -> tuple[Tensor, Tensor]:
    (x, y, z), (dx, dy, dz) = origin, direction
    return _quadratic(dx * dx + dy * dy + dz * dz, x * dx + y * dy + z * dz, x * x + y * y + z * z - 1)
