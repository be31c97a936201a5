"""Files that are written here, read by the programs and libraries that users read them with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from common.export.colmap import make_colmap_model, write_colmap
from common.export.mesh import Mesh, write_cloud_glb, write_mesh_glb
from common.export.nerfstudio import write_nerfstudio
from common.export.ply import read_ply, write_ply
from common.export.trajectory import write_kitti, write_tum

GENERATOR = np.random.default_rng(0)
POINTS = GENERATOR.normal(size=(50, 3)).astype(np.float32)
COLORS = GENERATOR.integers(0, 256, (50, 3), dtype=np.uint8)
INTRINSICS = np.array([[500.0, 0, 319.5], [0, 510, 241.5], [0, 0, 1]])
SIZE = (480, 640)


def poses(count: int = 5) -> np.ndarray:
    found = np.tile(np.eye(4), (count, 1, 1))
    found[:, :3, :3] = Rotation.random(count, random_state=0).as_matrix()
    found[:, :3, 3] = np.random.default_rng(1).normal(size=(count, 3))
    return found


def test_ply_in_plyfile(tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile")
    confidence = np.linspace(0, 9, 50).astype(np.float32)
    write_ply(tmp_path / "a.ply", POINTS, COLORS, confidence)
    vertices = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"]
    np.testing.assert_array_equal(np.stack([vertices[axis] for axis in "xyz"], 1), POINTS)
    np.testing.assert_array_equal(np.stack([vertices[name] for name in ("red", "green", "blue")], 1), COLORS)
    np.testing.assert_array_equal(vertices["confidence"], confidence)


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")], ids=["ascii", "little", "big"])
def test_ply_from_plyfile(tmp_path: Path, text: bool, order: str) -> None:
    plyfile = pytest.importorskip("plyfile")
    rows = np.empty(
        50, [*((axis, "f4") for axis in "xyz"), ("nx", "f8"), *((c, "u1") for c in ("red", "green", "blue"))]
    )
    for column, axis in enumerate("xyz"):
        rows[axis] = POINTS[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        rows[name] = COLORS[:, column]
    faces = np.array([([0, 1, 2],)], [("vertex_indices", "i4", (3,))])
    elements = [plyfile.PlyElement.describe(rows, "vertex"), plyfile.PlyElement.describe(faces, "face")]
    plyfile.PlyData(elements, text=text, byte_order=order, comments=["made elsewhere"]).write(str(tmp_path / "a.ply"))
    cloud = read_ply(tmp_path / "a.ply")
    np.testing.assert_allclose(cloud.points, POINTS, rtol=1e-6)
    np.testing.assert_array_equal(cloud.colors, COLORS)


def test_colmap_in_pycolmap(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(5)]
    write_colmap(tmp_path / "0", make_colmap_model(poses(), INTRINSICS, SIZE, names, POINTS, COLORS))
    model = pycolmap.Reconstruction(str(tmp_path / "0"))
    assert [model.images[number].name for number in sorted(model.images)] == names
    for number, truth in zip(sorted(model.images), poses(), strict=True):
        found = model.images[number].cam_from_world().inverse().matrix()
        np.testing.assert_allclose(found, truth[:3], atol=1e-9)
    (camera,) = model.cameras.values()
    assert (camera.model.name, camera.width, camera.height) == ("PINHOLE", 640, 480)
    assert camera.params.tolist() == [500, 510, 320, 242]
    found = np.array([model.points3D[number].xyz for number in sorted(model.points3D)])
    np.testing.assert_allclose(found, POINTS)
    np.testing.assert_array_equal([model.points3D[number].color for number in sorted(model.points3D)], COLORS)


def test_trajectories_in_evo(tmp_path: Path) -> None:
    file_interface = pytest.importorskip("evo.tools.file_interface")
    times = 1_700_000_000 + np.arange(5) / 30
    write_tum(tmp_path / "t.txt", times, poses())
    found = file_interface.read_tum_trajectory_file(tmp_path / "t.txt")
    np.testing.assert_allclose(found.timestamps, times)
    np.testing.assert_allclose(found.poses_se3, poses(), atol=1e-8)
    write_kitti(tmp_path / "k.txt", poses())
    np.testing.assert_allclose(file_interface.read_kitti_poses_file(tmp_path / "k.txt").poses_se3, poses(), atol=1e-8)


def test_nerfstudio_by_its_documented_formula(tmp_path: Path) -> None:
    """A world point projected with OpenGL axes and pixel centres at halves falls where ours does, half a pixel on."""
    write_nerfstudio(tmp_path / "transforms.json", poses(), INTRINSICS, SIZE, [f"{k}.png" for k in range(5)])
    content = json.loads((tmp_path / "transforms.json").read_text())
    for frame, pose in zip(content["frames"], poses(), strict=True):
        world = pose @ [0.3, -0.2, 2.0, 1]
        x, y, z, _ = np.linalg.inv(frame["transform_matrix"]) @ world
        pixel = content["fl_x"] * x / -z + content["cx"], content["fl_y"] * -y / -z + content["cy"]
        ours = INTRINSICS @ [0.3, -0.2, 2.0] / 2
        np.testing.assert_allclose(pixel, ours[:2] + 0.5)


def test_glb_in_trimesh_has_linear_colours(tmp_path: Path) -> None:
    """glTF viewers take vertex colours as linear light: sRGB 128 is 0.216, which is 55 of 255."""
    trimesh = pytest.importorskip("trimesh")
    grey = np.repeat(np.array([0, 10, 128, 200, 255], np.uint8)[:, None], 3, 1)
    write_cloud_glb(tmp_path / "cloud.glb", POINTS[:5], grey, poses())
    cloud = trimesh.load(tmp_path / "cloud.glb").geometry["points"]
    assert cloud.colors[:, 0].tolist() == [0, 1, 55, 147, 255] and (cloud.colors[:, 3] == 255).all()
    assert len(cloud.vertices) == 5
    mesh = Mesh(POINTS[:5], np.array([[0, 1, 2], [2, 3, 4]], np.int32), grey)
    write_mesh_glb(tmp_path / "mesh.glb", mesh, poses())
    loaded = trimesh.load(tmp_path / "mesh.glb", process=False).geometry["mesh"]
    assert len(loaded.faces) == 2 and 55 in loaded.visual.vertex_colors[:, 0]
