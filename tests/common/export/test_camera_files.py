"""TUM, KITTI, nerfstudio and COLMAP files: round trips, and content checked by independent arithmetic."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.errors import InputError
from common.export.colmap import make_colmap_model, read_colmap, write_colmap
from common.export.nerfstudio import read_nerfstudio, write_nerfstudio
from common.export.trajectory import read_kitti, read_tum, write_kitti, write_tum

SIZE = (480, 640)
NAMES = ["a/0.png", "a/1.png", "b.jpg"]
INTRINSICS = np.array([[500.0, 0, 319.5], [0, 510, 239.5], [0, 0, 1]])
PER_FRAME = INTRINSICS + np.arange(3)[:, None, None] * np.array([[10.0, 0, 1], [0, 10, 1], [0, 0, 0]])


def random_poses(count: int = 3) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=0).as_matrix()
    poses[:, :3, 3] = np.random.default_rng(0).normal(size=(count, 3))
    return poses


def turned_pose() -> np.ndarray:
    """At (1, 2, 3), turned by 90 degrees about z: camera x is world y, camera y is world -x."""
    return np.array([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


def test_tum_known_line(tmp_path: Path) -> None:
    write_tum(tmp_path / "t.txt", [12.5], [turned_pose()])
    comment, line = (tmp_path / "t.txt").read_text().splitlines()
    half = math.sqrt(0.5)
    assert comment.startswith("#")
    assert [float(value) for value in line.split()] == pytest.approx([12.5, 1, 2, 3, 0, 0, half, half], abs=1e-8)


def test_trajectories_round_trip(tmp_path: Path) -> None:
    poses, times = random_poses(20), 1_700_000_000 + np.arange(20) / 30
    write_tum(tmp_path / "t.txt", times, poses)
    found = read_tum(tmp_path / "t.txt")
    np.testing.assert_allclose(found.timestamps, times, atol=1e-6)
    np.testing.assert_allclose(found.camera_to_world, poses, atol=1e-8)
    write_kitti(tmp_path / "k.txt", poses)
    np.testing.assert_allclose(read_kitti(tmp_path / "k.txt"), poses, atol=1e-8)


@pytest.mark.parametrize(
    ("row", "lost"),
    [("2 1 2 3 0 0 0 1", False), ("2 nan 2 3 0 0 0 1", True), ("2 1 2 3 0 0 0 0", True), ("2 1 2 3 0 0 inf 1", True)],
)
def test_a_tum_row_that_is_no_pose_costs_itself(tmp_path: Path, row: str, lost: bool) -> None:
    (tmp_path / "t.txt").write_text(f"\ufeff# time\n1 0 0 0 0 0 0 1\n\n{row}\n3, 0, 0, 0, 0, 0, 0, 1 # the last\n")
    assert read_tum(tmp_path / "t.txt").timestamps.tolist() == ([1, 3] if lost else [1, 2, 3])


@pytest.mark.parametrize("row", ["2 1 2 3 0 0 1", "2 1 2 3 0 0 0 1 9", "two 1 2 3 0 0 0 1"])
def test_the_columns_of_every_row_are_counted(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.txt").write_text(f"1 0 0 0 0 0 0 1\n{row}\n")
    with pytest.raises(InputError, match=r"t\.txt:2: expected timestamp tx ty tz"):
        read_tum(tmp_path / "t.txt")
    (tmp_path / "k.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n1 2 3\n")
    with pytest.raises(InputError, match=r"k\.txt:2: expected the 12 numbers"):
        read_kitti(tmp_path / "k.txt")


def test_a_kitti_row_without_a_pose_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_text("\n".join(["1 0 0 0 0 1 0 0 0 0 1 0", " ".join(["nan"] * 12)] * 2))
    assert np.isfinite(read_kitti(tmp_path / "k.txt")).all(axis=(1, 2)).tolist() == [True, False, True, False]


def test_poses_must_be_poses(tmp_path: Path) -> None:
    missing = random_poses()
    missing[1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        write_tum(tmp_path / "t.txt", np.arange(3), missing)
    with pytest.raises(ValueError, match="timestamps"):
        write_tum(tmp_path / "t.txt", np.arange(2), random_poses())
    with pytest.raises(ValueError, match="finite"):
        write_nerfstudio(tmp_path / "t.json", missing, INTRINSICS, SIZE, NAMES)
    with pytest.raises(ValueError, match="finite"):
        make_colmap_model(missing, INTRINSICS, SIZE, NAMES)
    assert not list(tmp_path.iterdir())


def test_nerfstudio_known_content(tmp_path: Path) -> None:
    write_nerfstudio(tmp_path / "transforms.json", [turned_pose()], INTRINSICS, SIZE, ["0.png"], "points.ply")
    content = json.loads((tmp_path / "transforms.json").read_text())
    assert {key: content[key] for key in ("fl_x", "fl_y", "cx", "cy", "w", "h", "ply_file_path")} == {
        "fl_x": 500,
        "fl_y": 510,
        "cx": 320,
        "cy": 240,
        "w": 640,
        "h": 480,
        "ply_file_path": "points.ply",
    }
    # OpenGL: up is +y, so camera y is world +x here; the camera looks along -z, so its z axis is world -z.
    frame = content["frames"][0]
    assert frame["file_path"] == "0.png"
    assert np.array(frame["transform_matrix"]).tolist() == [[0, 1, 0, 1], [1, 0, 0, 2], [0, 0, -1, 3], [0, 0, 0, 1]]


@pytest.mark.parametrize("intrinsics", [INTRINSICS, PER_FRAME])
def test_nerfstudio_round_trip(tmp_path: Path, intrinsics: np.ndarray) -> None:
    poses = random_poses()
    write_nerfstudio(tmp_path / "transforms.json", poses, intrinsics, SIZE, NAMES)
    scene = read_nerfstudio(tmp_path / "transforms.json")
    np.testing.assert_allclose(scene.camera_to_world, poses)
    np.testing.assert_allclose(scene.intrinsics, np.broadcast_to(intrinsics, (3, 3, 3)))
    assert scene.sizes.tolist() == [list(SIZE)] * 3 and scene.image_paths == NAMES and scene.ply_path is None


def test_colmap_known_text(tmp_path: Path) -> None:
    model = make_colmap_model([turned_pose()], INTRINSICS, SIZE, ["0.png"], [[1, 2, 3.5]], np.array([[9, 8, 7]]))
    write_colmap(tmp_path / "sparse" / "0", model, text=True)
    lines = {
        name: [
            line
            for line in (tmp_path / "sparse" / "0" / f"{name}.txt").read_text().split("\n")
            if not line.startswith("#")
        ]
        for name in ("cameras", "images", "points3D")
    }
    assert lines["cameras"][0] == "1 PINHOLE 640 480 500 510 320 240"
    identifier, *pose, camera, name = lines["images"][0].split()
    # World to camera: turned back by 90 degrees; the translation is -R (1, 2, 3) = -(2, -1, 3).
    half = math.sqrt(0.5)
    assert [float(value) for value in pose] == pytest.approx([half, 0, 0, -half, -2, 1, -3])
    assert (identifier, camera, name) == ("1", "1", "0.png") and lines["images"][1] == ""
    assert lines["points3D"][0] == "1 1 2 3.5 9 8 7 0"


def test_colmap_known_bytes(tmp_path: Path) -> None:
    model = make_colmap_model([np.eye(4)], INTRINSICS, SIZE, ["0.png"], [[1, 2, 3.5]], np.array([[9, 8, 7]]))
    write_colmap(tmp_path, model)
    camera = struct.pack("<QiiQQdddd", 1, 1, 1, 640, 480, 500, 510, 320, 240)
    assert (tmp_path / "cameras.bin").read_bytes() == camera
    image = struct.pack("<Qi7di", 1, 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"0.png\0" + struct.pack("<Q", 0)
    assert (tmp_path / "images.bin").read_bytes() == image
    point = struct.pack("<QQdddBBBdQ", 1, 1, 1, 2, 3.5, 9, 8, 7, 0, 0)
    assert (tmp_path / "points3D.bin").read_bytes() == point


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("intrinsics", [INTRINSICS, PER_FRAME])
def test_colmap_round_trip(tmp_path: Path, text: bool, intrinsics: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    points, colors = generator.normal(size=(50, 3)), generator.integers(0, 256, (50, 3), dtype=np.uint8)
    model = make_colmap_model(random_poses(), intrinsics, SIZE, NAMES, points, colors)
    write_colmap(tmp_path / "0", model, text)
    found = read_colmap(tmp_path / "0")
    np.testing.assert_allclose(found.camera_to_world, model.camera_to_world, atol=1e-12)
    np.testing.assert_allclose(found.intrinsics, intrinsics)
    np.testing.assert_allclose(found.points, points, rtol=1e-8)
    np.testing.assert_array_equal(found.colors, colors)
    assert list(found.image_names) == NAMES and found.size == SIZE


def test_colmap_names_with_spaces(tmp_path: Path) -> None:
    model = make_colmap_model([np.eye(4)], INTRINSICS, SIZE, ["my photo.png"])
    write_colmap(tmp_path / "0", model)
    found = read_colmap(tmp_path / "0")
    assert list(found.image_names) == ["my photo.png"] and found.points.shape == (0, 3)
    with pytest.raises(ValueError, match="white space"):
        write_colmap(tmp_path / "1", model, text=True)


def test_nerfstudio_writes_the_radial_term_only_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "transforms.json"
    write_nerfstudio(path, random_poses(), PER_FRAME, SIZE, NAMES, radial_distortion=[0.0, -0.1, 0.05])
    frames = json.loads(path.read_text())["frames"]
    assert ["k1" in frame for frame in frames] == [False, True, True]
    assert [frame["k1"] for frame in frames[1:]] == [-0.1, 0.05]
    with pytest.raises(InputError, match=f"{NAMES[1]} has lens distortion"):
        read_nerfstudio(path)


def test_nerfstudio_shares_the_radial_term_of_one_camera(tmp_path: Path) -> None:
    path = tmp_path / "transforms.json"
    write_nerfstudio(path, random_poses(), INTRINSICS, SIZE, NAMES, radial_distortion=np.full(3, -0.1))
    written = json.loads(path.read_text())
    assert written["k1"] == -0.1 and not any("k1" in frame for frame in written["frames"])
