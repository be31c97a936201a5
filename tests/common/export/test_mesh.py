"""GLB files can be opened by others, and a mesh lies on its points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.export.mesh import mesh_of_cloud, write_cloud_glb, write_mesh_glb

trimesh = pytest.importorskip("trimesh", reason="comes with the extra app")


def sphere(count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The inside of the lower half of a unit sphere (y is down), seen from cameras in its middle."""
    points = np.random.default_rng(0).normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[:, 1] = np.abs(points[:, 1])
    return points.astype(np.float32), np.full((count, 3), (200, 30, 60), np.uint8), np.tile(np.eye(4), (3, 1, 1))


def test_a_cloud_in_glb_keeps_points_and_colours_and_stands_upright(tmp_path: Path) -> None:
    points, colors, poses = sphere(500)
    scene = trimesh.load(write_cloud_glb(tmp_path / "cloud.glb", points, colors, poses))
    cloud = next(one for one in scene.geometry.values() if isinstance(one, trimesh.PointCloud))
    linear = ((colors / 255 + 0.055) / 1.055) ** 2.4 * 255  # of values above 10
    assert np.abs(np.asarray(cloud.colors)[:, :3] - linear).max() <= 1
    node = next(node for node in scene.graph.nodes_geometry if scene.geometry[scene.graph[node][1]] is cloud)
    own = trimesh.transform_points(cloud.vertices, scene.graph[node][0])
    # OpenCV's first camera looks along z with y down; glTF's y is up and its viewers look along -z.
    np.testing.assert_allclose(own, points * [1, -1, -1], atol=1e-5)
    assert len(scene.geometry) == 2, "points and cameras"


def test_no_points_and_no_cameras_are_a_file_too(tmp_path: Path) -> None:
    path = write_cloud_glb(tmp_path / "none.glb", np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty((0, 4, 4)))
    assert path.read_bytes()[:4] == b"glTF"


def test_a_mesh_lies_on_the_points_faces_the_cameras_and_ends_where_they_end(tmp_path: Path) -> None:
    points, colors, poses = sphere()
    mesh = mesh_of_cloud(points, colors, poses, depth=6)
    assert len(mesh.triangles) > 500
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1, atol=0.1)  # cells are 0.03
    assert mesh.vertices[:, 1].min() > -0.15, "nothing is made up where no point is"
    corners = mesh.vertices[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * -corners.mean(axis=1)).sum(axis=1) > 0).mean() > 0.98
    assert np.abs(mesh.colors.astype(int) - (200, 30, 60)).max() < 4
    assert trimesh.load(write_mesh_glb(tmp_path / "mesh.glb", mesh, poses)).geometry
