"""Depth and visible vertices of a triangle mesh, by ray casting on the CPU (Open3D's RaycastingScene, Embree)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_process.errors import SceneError
from data_process.formats.rectify import Matrix, Size, pinhole_rays


@dataclass(frozen=True)
class MeshView:
    """Rendering of a mesh in one camera."""

    depth: NDArray[np.float32]
    """(H, W) metres along z; 0 where no surface is in range."""
    vertex: NDArray[np.int64]
    """(H, W) the vertex nearest to the hit among those of its triangle; -1 where depth is 0."""


class SceneMesh:
    """Mesh prepared for ray casting; faces are visible from both sides.

    Raises:
        SceneError: the file is missing or holds no triangles.
    """

    def __init__(self, path: Path) -> None:
        import open3d  # a slow import that only workers need

        if not path.is_file():
            raise SceneError(f"{path}: the mesh is missing")
        with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
            mesh = open3d.t.io.read_triangle_mesh(str(path))
        if "indices" not in mesh.triangle or not len(mesh.triangle.indices):
            raise SceneError(f"{path}: not a readable mesh with triangles")
        self.triangles = mesh.triangle.indices.numpy().astype(np.int64)
        self.num_vertices = len(mesh.vertex.positions)
        self._scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        positions, indices = mesh.vertex.positions, mesh.triangle.indices
        self._scene.add_triangles(positions.to(open3d.core.float32), indices.to(open3d.core.uint32))

    def render(
        self, intrinsics: Matrix, size: Size, camera_to_world: Matrix, near: float = 0.05, far: float = 20.0
    ) -> MeshView:
        """Render the mesh in a pinhole camera.

        Args:
            intrinsics: (3, 3), pixels.
            size: (height, width).
            camera_to_world: (4, 4), in the unit of the mesh.
            near, far: range of z of visible surfaces; nearer ones are transparent.
        """
        import open3d

        directions = pinhole_rays(intrinsics, size) @ camera_to_world[:3, :3].T  # z = 1 in the camera: t is depth
        origins = camera_to_world[:3, 3] + near * directions
        rays = np.concatenate([origins, directions], axis=-1).astype(np.float32)
        hits = self._scene.cast_rays(open3d.core.Tensor.from_numpy(rays), nthreads=1)
        depth = hits["t_hit"].numpy() + np.float32(near)
        hit = np.isfinite(depth) & (depth <= far)
        second, third = np.moveaxis(hits["primitive_uvs"].numpy(), -1, 0)
        corner = np.argmax([1 - second - third, second, third], axis=0)
        vertex = np.full(size, -1, np.int64)
        vertex[hit] = self.triangles[hits["primitive_ids"].numpy()[hit], corner[hit]]
        return MeshView(np.where(hit, depth, np.float32(0)), vertex)
