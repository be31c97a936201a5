"""Clouds and meshes as GLB files, which browsers, Blender and phones open; and a mesh of a cloud."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from common.errors import InputError
from common.files import atomic_write
from common.geometry.up_axis import find_up

_FRUSTUM = np.array([[0, 0, 0], [-1, -0.75, 1.2], [1, -0.75, 1.2], [1, 0.75, 1.2], [-1, 0.75, 1.2]]) * 0.035
_EDGES = np.array([(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1)])
_BLUE, _RED = np.array([38.0, 110, 230]), np.array([235.0, 70, 50])
_MAX_FRUSTA = 100
_MAX_POISSON_POINTS = 300_000


@dataclass
class Mesh:
    """Triangles with colours."""

    vertices: NDArray[np.float32]
    """(V, 3) world."""
    triangles: NDArray[np.int32]
    """(F, 3) indices, counter-clockwise as the cameras see them."""
    colors: NDArray[np.uint8]
    """(V, 3) RGB."""


def write_cloud_glb(
    path: str | os.PathLike[str], points: ArrayLike, colors: ArrayLike, camera_poses: ArrayLike
) -> Path:
    """Write points (P, 3), colours (P, 3) uint8 RGB and the frusta of cameras (N, 4, 4); returns the path.

    The file has glTF's axes (y is up), as far as the cameras tell which way that is.

    Raises:
        ImportError: trimesh is missing; it comes with the extra ``app``.
    """
    trimesh = _trimesh()
    cloud = np.asarray(points, np.float32).reshape(-1, 3)
    scene = trimesh.Scene()
    if len(cloud):
        scene.add_geometry(trimesh.PointCloud(cloud, colors=_opaque(np.asarray(colors, np.uint8))), geom_name="points")
    return _write(path, scene, cloud, np.asarray(camera_poses, np.float64).reshape(-1, 4, 4))


def write_mesh_glb(path: str | os.PathLike[str], mesh: Mesh, camera_poses: ArrayLike) -> Path:
    """Write a mesh and the frusta of cameras (N, 4, 4), as `write_cloud_glb`."""
    trimesh = _trimesh()
    scene = trimesh.Scene()
    if len(mesh.triangles):
        colors = _opaque(mesh.colors)
        scene.add_geometry(
            trimesh.Trimesh(mesh.vertices, mesh.triangles, vertex_colors=colors, process=False), geom_name="mesh"
        )
    return _write(path, scene, mesh.vertices, np.asarray(camera_poses, np.float64).reshape(-1, 4, 4))


def mesh_of_cloud(points: ArrayLike, colors: ArrayLike, camera_poses: ArrayLike, depth: int = 8) -> Mesh:
    """A surface through a cloud by screened Poisson reconstruction (Kazhdan and Hoppe 2013), cut where no points are.

    Args:
        points: (P, 3) world.
        colors: (P, 3) uint8 RGB.
        camera_poses: (N, 4, 4); surfaces face the nearest of them.
        depth: of the octree: 2 ** depth cells along the longest side.
    """
    import open3d as o3d

    cloud, shades = np.asarray(points, np.float64).reshape(-1, 3), np.asarray(colors, np.uint8).reshape(-1, 3)
    if len(cloud) > _MAX_POISSON_POINTS:
        chosen = np.random.default_rng(0).choice(len(cloud), _MAX_POISSON_POINTS, replace=False)
        cloud, shades = cloud[chosen], shades[chosen]
    if len(cloud) < 100:
        return Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32), np.empty((0, 3), np.uint8))
    given = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud))
    given.colors = o3d.utility.Vector3dVector(shades / 255.0)
    given.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(24))
    centres = np.asarray(camera_poses, np.float64).reshape(-1, 4, 4)[:, :3, 3]
    normals = np.asarray(given.normals)
    if len(centres):
        seen_from = centres[cKDTree(centres).query(cloud)[1]] - cloud
        given.normals = o3d.utility.Vector3dVector(
            np.where((normals * seen_from).sum(axis=1) < 0, -1, 1)[:, None] * normals
        )
    surface, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(given, depth=depth, n_threads=1)
    vertices = np.asarray(surface.vertices)
    tree = cKDTree(cloud)
    spacing = np.median(tree.query(cloud[:2000], k=8)[0][:, -1])
    cell = np.ptp(cloud, axis=0).max() / 2**depth
    far = tree.query(vertices)[0] > 2 * max(spacing, cell)
    surface.remove_vertices_by_mask(far)
    return Mesh(
        np.asarray(surface.vertices, np.float32),
        np.asarray(surface.triangles, np.int32),
        (np.asarray(surface.vertex_colors) * 255).round().clip(0, 255).astype(np.uint8),
    )


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """Read a mesh with colours from a PLY; gray where it has none.

    Raises:
        InputError: the file has no triangles, or is no such file.
    """
    import open3d as o3d

    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):  # it writes warnings to the terminal
        read = o3d.io.read_triangle_mesh(Path(path))
    vertices, triangles = np.asarray(read.vertices, np.float32), np.asarray(read.triangles, np.int32)
    if not len(triangles):
        raise InputError(f"{path} is not a PLY with triangles")
    colors = np.asarray(read.vertex_colors)
    colors = colors if len(colors) == len(vertices) else np.full((len(vertices), 3), 0.5)
    return Mesh(vertices, triangles, (255 * colors).round().clip(0, 255).astype(np.uint8))


def frusta_lines(camera_poses: ArrayLike, scene_size: float) -> NDArray[np.float32]:
    """(N * 8, 2, 3) ends of the edges of the cameras' frusta, sized to go with a scene of that diagonal."""
    poses = np.asarray(camera_poses, np.float64).reshape(-1, 4, 4)
    corners = np.einsum("nij,kj->nki", poses[:, :3, :3], _FRUSTUM * scene_size / 2) + poses[:, None, :3, 3]
    return corners[:, _EDGES].reshape(-1, 2, 3).astype(np.float32)


def _trimesh() -> Any:
    try:
        import trimesh
    except ImportError as error:
        raise ImportError("GLB files need trimesh: bash scripts/setup.sh app") from error
    return trimesh


def _write(path: str | os.PathLike[str], scene: Any, extent: NDArray, poses: NDArray) -> Path:
    trimesh = _trimesh()
    if len(poses):
        step = max(1, len(poses) // _MAX_FRUSTA)
        ends = np.concatenate([extent[:: max(1, len(extent) // 5000)], poses[:, :3, 3]])
        size = float(np.linalg.norm(np.ptp(ends, axis=0))) or 1.0
        share = np.linspace(0, 1, len(poses))[::step, None]
        shades = np.repeat(((1 - share) * _BLUE + share * _RED).astype(np.uint8), len(_EDGES), axis=0)
        ends = frusta_lines(poses[::step], size).reshape(-1, 3)
        entities = [trimesh.path.entities.Line([i, i + 1]) for i in range(0, len(ends), 2)]
        lines = trimesh.path.Path3D(entities, ends, colors=_opaque(shades), process=False)
        scene.add_geometry(lines, geom_name="cameras")
        scene.apply_transform(_upright(poses))
    if not scene.geometry:  # glTF has no empty scenes
        scene.add_geometry(trimesh.PointCloud(np.zeros((1, 3)), colors=[[0, 0, 0, 0]]), geom_name="empty")
    with atomic_write(path) as file:
        file.write(scene.export(file_type="glb"))
    return Path(path)


def _upright(poses: NDArray) -> NDArray[np.float64]:
    """(4, 4) from the world to one whose y is up and in which the first camera looks along -z."""
    up = find_up(poses)
    back = -(poses[0, :3, 2] - poses[0, :3, 2] @ up * up)
    if np.linalg.norm(back) < 1e-3:
        back = np.cross(poses[0, :3, 0], up)
    back /= np.linalg.norm(back)
    turn = np.eye(4)
    turn[:3, :3] = np.stack([np.cross(up, back), up, back])
    return turn


def _linear(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """sRGB (IEC 61966-2-1) to linear light, which glTF 2.0 expects of vertex colours (section 3.7.2.1)."""
    values = colors / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return (light * 255).round().astype(np.uint8)


def _opaque(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA in linear light of sRGB colours (N, 3)."""
    shades = _linear(colors.reshape(-1, 3))
    return np.concatenate([shades, np.full((len(shades), 1), 255, np.uint8)], axis=1)
