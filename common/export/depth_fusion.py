"""Depth maps with cameras in, a mesh out. Imports neither torch nor Open3D before it is used.

Truncated signed distances in a hashed voxel grid: Curless and Levoy 1996, Niessner et al. 2013, by Open3D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 8
"""Voxels along the side of a block."""
_BLOCKS_AT_FIRST = 10_000
"""The grid grows by itself."""


class DepthFusion:
    """Fuses one depth map after the other. Open3D's tensor grid: its older volumes give no mesh in version 0.20."""

    def __init__(self, voxel: float, truncation: float, depth_limit: float) -> None:
        """
        Args:
            voxel: edge of a voxel, in the unit of the world, as all lengths.
            truncation: of the signed distances.
            depth_limit: pixels farther away are left out.
        """
        import open3d

        self._open3d: Any = open3d  # its stubs do not take arrays
        self._limit = depth_limit
        self._truncation = truncation / voxel
        core = self._open3d.core
        self._grid = self._open3d.t.geometry.VoxelBlockGrid(
            attr_names=("tsdf", "weight", "color"),
            attr_dtypes=(core.float32, core.float32, core.float32),
            attr_channels=((1), (1), (3)),
            voxel_size=voxel,
            block_resolution=_BLOCK,
            block_count=_BLOCKS_AT_FIRST,
            device=core.Device("CPU:0"),
        )
        self._empty = True

    def add(self, depth: NDArray, color: NDArray, camera_to_world: NDArray, intrinsics: NDArray) -> None:
        """Fuse a frame.

        Args:
            depth: (H, W) along the optical axis, 0 where there is none.
            color: (H, W, 3) uint8 RGB.
            camera_to_world: (4, 4), OpenCV.
            intrinsics: (3, 3) of a pinhole camera, pixels of the depth map.
        """
        if not ((depth > 0) & (depth < self._limit)).any():
            return
        image, tensor = self._open3d.t.geometry.Image, self._open3d.core.Tensor
        depths = image(np.ascontiguousarray(depth[..., None], np.float32))
        colors = image(np.ascontiguousarray(color, np.float32) / 255)
        camera = tensor(np.ascontiguousarray(intrinsics, np.float64))
        pose = tensor(np.linalg.inv(np.asarray(camera_to_world, np.float64)))
        # Depths are in units of the world, so their scale is 1.
        blocks = self._grid.compute_unique_block_coordinates(depths, camera, pose, 1.0, self._limit, self._truncation)
        self._grid.integrate(blocks, depths, colors, camera, camera, pose, 1.0, self._limit, self._truncation)
        self._empty = False

    def mesh(self, min_weight: float = 0.5) -> dict[str, NDArray]:
        """Vertices (V, 3) float32, triangles (T, 3) int32 and colours (V, 3) uint8 so far.

        Args:
            min_weight: number of frames that must have seen a voxel for it to bear a surface, at least.
        """
        if self._empty:
            return empty_mesh()
        mesh = self._grid.extract_triangle_mesh(weight_threshold=min_weight)
        if not len(mesh.vertex.positions):
            return empty_mesh()
        colors = np.rint(mesh.vertex.colors.numpy() * 255).clip(0, 255)
        return {
            "vertices": mesh.vertex.positions.numpy().astype(np.float32),
            "triangles": mesh.triangle.indices.numpy().astype(np.int32),
            "colors": colors.astype(np.uint8),
        }


def empty_mesh() -> dict[str, NDArray]:
    """An empty mesh."""
    nothing = np.empty((0, 3))
    return {
        "vertices": nothing.astype(np.float32),
        "triangles": nothing.astype(np.int32),
        "colors": nothing.astype(np.uint8),
    }
