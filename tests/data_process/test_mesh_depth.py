"""Ray casting a known mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_process.errors import SceneError
from data_process.formats.mesh_depth import SceneMesh
from data_process.formats.rectify import pinhole_rays
from tests.support import box_room

INTRINSICS = np.array([[40.0, 0, 23.5], [0, 40.0, 17.5], [0, 0, 1]])
SIZE = (36, 48)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> SceneMesh:
    path = tmp_path_factory.mktemp("mesh") / "room.ply"
    box_room.write_mesh(path)
    return SceneMesh(path)


def test_depth_is_along_z(mesh: SceneMesh) -> None:
    camera_to_world = box_room.pose(2)
    view = mesh.render(INTRINSICS, SIZE, camera_to_world)
    expected = box_room.look(camera_to_world, pinhole_rays(INTRINSICS, SIZE))[1]
    np.testing.assert_allclose(view.depth, expected, rtol=1e-5)


def test_the_visible_vertex_is_the_nearest_of_its_triangle(mesh: SceneMesh) -> None:
    camera_to_world = np.eye(4)  # in the middle, looking along z
    view = mesh.render(INTRINSICS, SIZE, camera_to_world)
    assert mesh.num_vertices == 24
    assert set(np.unique(view.vertex)) <= set(range(24)) and view.vertex[18, 24] // 4 == 4  # the wall at +z


def test_range(mesh: SceneMesh) -> None:
    assert (mesh.render(INTRINSICS, SIZE, np.eye(4), far=2.4).vertex[18, 24]) == -1
    assert mesh.render(INTRINSICS, SIZE, np.eye(4), far=2.6).depth[18, 24] == pytest.approx(2.5)
    outside = np.eye(4)
    outside[2, 3] = -box_room.HALF[2] - 0.04  # 4 cm before a wall: it is looked through
    assert mesh.render(INTRINSICS, SIZE, outside).depth[18, 24] == pytest.approx(5.04, abs=1e-5)
    assert mesh.render(INTRINSICS, SIZE, outside, near=0.01).depth[18, 24] == pytest.approx(0.04, abs=1e-5)


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="the mesh is missing"):
        SceneMesh(tmp_path / "mesh.ply")
    (tmp_path / "mesh.ply").write_text("ply\nformat ascii 1.0\nend_header\n")
    with pytest.raises(SceneError, match="not a readable mesh"):
        SceneMesh(tmp_path / "mesh.ply")
