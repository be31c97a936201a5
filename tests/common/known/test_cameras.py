"""Cameras that users bring: read as they are meant, checked before any work, bad ones left out by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.export.nerfstudio_reading import read_nerfstudio_frames
from common.geometry.undistortion import Undistorter
from common.known import cameras as known_cameras
from common.known.camera_files import read_cameras
from common.known.cameras import KnownCameras, Straighteners

SIZE = (120, 160)
POSE = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
PINHOLE = {"fl_x": 100.0, "fl_y": 101.0, "cx": 80.0, "cy": 60.0, "w": 160, "h": 120}
PICTURE = np.zeros((*SIZE, 3), np.uint8)


def write_json(path: Path, frames: list[dict[str, Any]], **shared: Any) -> Path:
    path.write_text(json.dumps({**shared, "frames": frames}))
    return path


def frame(name: str = "a.png", pose: Any = POSE, **own: Any) -> dict[str, Any]:
    return {"file_path": name, "transform_matrix": pose, **own}


def intrinsics(cameras: KnownCameras, name: str, picture: np.ndarray = PICTURE) -> np.ndarray:
    camera = cameras.find(name)
    assert camera is not None
    return cameras.straighten(name, camera, picture).intrinsics


@pytest.mark.parametrize(
    ("model", "values", "expected"),
    [
        ("OPENCV", {"k1": 0.1, "k2": -0.01, "p1": 0.002, "p2": 0.001}, "FULL_OPENCV"),
        ("OPENCV", {"k1": 0.1, "k3": 0.002}, "FULL_OPENCV"),
        ("OPENCV", {"k1": 0.0, "p1": 0}, "PINHOLE"),
        ("OPENCV_FISHEYE", {"k1": 0.1}, "OPENCV_FISHEYE"),
        ("OPENCV_FISHEYE", {}, "OPENCV_FISHEYE"),
    ],
)
def test_the_camera_model_of_nerfstudio_is_honoured(tmp_path: Path, model: str, values: dict, expected: str) -> None:
    path = write_json(tmp_path / "transforms.json", [frame()], camera_model=model, **PINHOLE, **values)
    (read,) = read_nerfstudio_frames(path)
    assert read.lens.model == expected and read.lens.parameters[:4] == (100.0, 101.0, 80.0, 60.0)
    direction = np.array([[0.5, 0.4]])
    radius = math.hypot(0.5, 0.4)
    bend = math.atan(radius) / radius if expected == "OPENCV_FISHEYE" else 1.0
    if not values.get("k1"):
        np.testing.assert_allclose(read.lens.project(direction), [[100 * 0.5 * bend + 79.5, 101 * 0.4 * bend + 59.5]])


@pytest.mark.parametrize(
    ("shared", "reason"),
    [
        ({**PINHOLE, "camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR is not one of"),
        ({**PINHOLE, "k4": 0.1}, "k4"),
        ({"w": 160, "h": 120}, "it has no 'fl_x'"),
        ({"fl_x": 100.0}, "no w and h"),
        ({"camera_angle_x": 4.0, "w": 160, "h": 120}, "between 0 and pi"),
    ],
)
def test_what_is_not_understood_is_one_line(tmp_path: Path, shared: dict, reason: str) -> None:
    with pytest.raises(InputError, match=rf"transforms\.json: a\.png: .*{reason}"):
        read_cameras(write_json(tmp_path / "transforms.json", [frame()], **shared))


def test_blender_states_an_angle_and_no_size(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "train" / "r_0.png")
    path = write_json(tmp_path / "transforms_train.json", [frame("./train/r_0", POSE)], camera_angle_x=math.radians(90))
    np.testing.assert_allclose(intrinsics(read_cameras(path), "train/r_0.png")[0], [80, 0, 79.5])


def test_files_as_people_leave_them(tmp_path: Path) -> None:
    """A byte order mark, matrices of three rows, intrinsics of a frame's own, and another name."""
    frames = [frame("a.png", POSE[:3]), frame("b.png", fl_x=200.0, fl_y=201.0)]
    path = tmp_path / "cameras.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({**PINHOLE, "frames": frames}).encode())
    cameras = read_cameras(path)
    assert intrinsics(cameras, "a.png")[0, 0] == 100 and intrinsics(cameras, "b.png")[0, 0] == 200
    np.testing.assert_allclose(cameras.find("a.png").camera_to_world, np.diag([1.0, -1, -1, 1]))


BAD = {
    "scaled": (np.diag([2.0, 2, 2, 1]).tolist(), "not orthonormal"),
    "mirrored": (np.diag([1.0, -1, 1, 1]).tolist(), "mirrors"),
    "infinite": ([[float("-inf")] * 4] * 3 + [[0, 0, 0, 1]], "not finite"),
    "missing": (None, "has no pose"),
    "short": ([[1, 0], [0, 1]], "has no pose"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_pose_is_left_out_by_name(tmp_path: Path, kind: str) -> None:
    pose, reason = BAD[kind]
    cameras = read_cameras(write_json(tmp_path / "t.json", [frame("a.png"), frame("b.png", pose)], **PINHOLE))
    assert len(cameras) == 1 and cameras.find("b.png") is None
    assert reason in cameras.why_missing("b.png") and "called like a.png" in cameras.why_missing("c.png")
    with pytest.raises(InputError, match=rf"no usable camera; b\.png: .*{reason}"):
        read_cameras(write_json(tmp_path / "t.json", [frame("b.png", pose)], **PINHOLE))


@pytest.mark.parametrize(
    ("own", "reason"),
    [({"fl_x": -5.0}, "focal length is not positive"), ({"cx": 500.0}, "lies outside"), ({"w": 0}, "0 x 120")],
)
def test_one_impossible_lens_is_left_out_by_name(tmp_path: Path, own: dict, reason: str) -> None:
    cameras = read_cameras(write_json(tmp_path / "t.json", [frame("a.png"), frame("b.png", **own)], **PINHOLE))
    assert reason in cameras.why_missing("b.png")


def test_pictures_must_be_those_of_the_cameras(tmp_path: Path) -> None:
    cameras = read_cameras(write_json(tmp_path / "t.json", [frame("a.png")], **PINHOLE))
    half = np.zeros((60, 80, 3), np.uint8)
    np.testing.assert_allclose(intrinsics(cameras, "a.png", half)[:2], [[50, 0, 39.5], [0, 50.5, 29.5]])
    with pytest.raises(InputError, match=r"a\.png: its camera is that of 160 x 120 pictures, this one has 120 x 160"):
        intrinsics(cameras, "a.png", np.zeros((160, 120, 3), np.uint8))


def test_scannet_loses_the_frames_without_tracking(tmp_path: Path) -> None:
    (tmp_path / "pose").mkdir()
    np.savetxt(tmp_path / "intrinsics.txt", [[100, 0, 80], [0, 100, 60], [0, 0, 1]])
    np.savetxt(tmp_path / "pose" / "0.txt", np.eye(4))
    np.savetxt(tmp_path / "pose" / "10.txt", np.full((4, 4), -np.inf))
    (tmp_path / "pose" / "20.txt").write_text("nothing\n")
    cameras = read_cameras(tmp_path)
    assert len(cameras) == 1 and set(cameras.faulty) == {"10", "20"}
    with pytest.raises(InputError, match="principal point"):
        intrinsics(cameras, "0.jpg", np.zeros((40, 60, 3), np.uint8))


def test_distorted_pictures_are_straightened(tmp_path: Path) -> None:
    lens = {**PINHOLE, "k1": 0.2}
    cameras = read_cameras(write_json(tmp_path / "t.json", [frame("a.png")], **lens))
    (read,) = read_nerfstudio_frames(tmp_path / "t.json")
    x, y = read.lens.project(np.array([[0.3, 0.25]]))[0]
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 255
    straight = cameras.straighten("a.png", cameras.find("a.png"), picture)
    assert not straight.is_original
    place = straight.intrinsics @ [0.3, 0.25, 1]
    rows, columns = np.nonzero(straight.image[..., 0] > 100)
    np.testing.assert_allclose([columns.mean(), rows.mean()], place[:2], atol=1.0)


def test_tum_pictures_take_the_nearest_pose(tmp_path: Path) -> None:
    (tmp_path / "rgb.txt").write_text("# seconds name\n10.00 rgb/10.000000.png\n10.50 rgb/10.500000.png\n")
    (tmp_path / "groundtruth.txt").write_text("9.99 1 2 3 0 0 0 1\n10.30 4 5 6 0 0 0 1\n")
    cameras = read_cameras(tmp_path)
    assert len(cameras) == 1 and set(cameras.faulty) == {"rgb/10.500000.png"} and not cameras.have_lenses
    found = cameras.find("10.000000.png")
    assert found is not None and found.camera_to_world[:3, 3].tolist() == [1, 2, 3]
    with pytest.raises(InputError, match=r"intrinsics\.txt"):
        intrinsics(cameras, "10.000000.png")
    np.savetxt(tmp_path / "intrinsics.txt", [[100, 0, 80], [0, 100, 60], [0, 0, 1]])
    np.testing.assert_allclose(intrinsics(read_cameras(tmp_path), "10.000000.png")[:2], [[100, 0, 80], [0, 100, 60]])


def test_masks_and_depths_are_straightened_like_their_picture(tmp_path: Path) -> None:
    """A square of a distorted picture and the same square of its mask, at half the size, end at the same place."""
    cameras = read_cameras(write_json(tmp_path / "t.json", [frame("a.png")], **{**PINHOLE, "k1": 0.3}))
    camera = cameras.find("a.png")
    assert camera is not None and camera.lens_of is not None and not cameras.are_straight
    mask = np.zeros((SIZE[0] // 2, SIZE[1] // 2), np.uint8)
    mask[40:50, 60:75] = 255
    picture = np.repeat(mask.repeat(2, 0).repeat(2, 1)[..., None], 3, axis=2)
    straight = cameras.straighten("a.png", camera, picture).image[..., 0] > 127
    moved = Straighteners().nearest(camera.lens_of, mask > 0, SIZE).repeat(2, 0).repeat(2, 1)
    assert moved.any() and (straight & moved).sum() > 0.9 * (straight | moved).sum()
    assert (moved & (mask.repeat(2, 0).repeat(2, 1) > 0)).sum() < 0.9 * moved.sum()


def test_a_lens_is_worked_out_once_for_all_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counting(lens: Any) -> Undistorter:
        made.append(lens)
        return Undistorter(lens)

    monkeypatch.setattr(known_cameras, "Undistorter", counting)
    names = ["a.png", "b.png", "c.png"]
    cameras = read_cameras(write_json(tmp_path / "t.json", [frame(name) for name in names], **{**PINHOLE, "k1": 0.2}))
    for name in names:
        intrinsics(cameras, name)
    assert len(made) == 1
