"""The files to take home: every format can be read back, and none tells where it was made."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.app.bundle import write_bundle
from common.app.contract import Cloud, PosedFrame
from common.export.colmap import read_colmap
from common.export.ply import read_ply
from common.export.trajectory import read_tum

pytest.importorskip("trimesh", reason="comes with the extra app")
POSE = np.eye(4)
POSE[:3, 3] = 1, 2, 3
INTRINSICS = np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]])


def frames(folder: Path) -> list[PosedFrame]:
    made = []
    for number, name in enumerate(("a.png", "deep/a.png")):
        file = folder / f"{number}.png"
        cv2.imwrite(str(file), np.zeros((30, 40, 3), np.uint8))
        made.append(PosedFrame(name, number / 10, POSE, INTRINSICS, (30, 40), file))
    return made


def test_every_format_can_be_read_back(tmp_path: Path) -> None:
    confidence = np.arange(100, dtype=np.float32)
    cloud = Cloud(
        np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32), np.zeros((100, 3), np.uint8), confidence
    )
    written = {path.name: path for path in write_bundle(tmp_path / "out", cloud, frames(tmp_path), confidence=79.0)}
    assert set(written) == {"points.ply", "points.glb", "trajectory.txt", "nerfstudio.zip", "colmap.zip"}
    np.testing.assert_array_equal(read_ply(written["points.ply"]).points, cloud.points[80:])
    np.testing.assert_allclose(read_tum(written["trajectory.txt"]).camera_to_world, [POSE, POSE])
    with zipfile.ZipFile(written["colmap.zip"]) as archive:
        archive.extractall(tmp_path / "colmap")
    model = read_colmap(tmp_path / "colmap" / "sparse" / "0")
    np.testing.assert_allclose(model.camera_to_world, [POSE, POSE])
    for name in model.image_names:
        assert (tmp_path / "colmap" / "images" / name).is_file(), "names differ even where the files' did not"
    with zipfile.ZipFile(written["nerfstudio.zip"]) as archive:
        transforms = json.loads(archive.read("transforms.json"))
        assert {frame["file_path"] for frame in transforms["frames"]} <= set(archive.namelist())
        assert transforms["ply_file_path"] in archive.namelist()
        assert str(tmp_path) not in json.dumps(transforms)


def test_without_a_pose_there_are_still_points(tmp_path: Path) -> None:
    cloud = Cloud(np.zeros((5, 3), np.float32), np.zeros((5, 3), np.uint8), np.ones(5, np.float32))
    names = {path.name for path in write_bundle(tmp_path, cloud, [], 0.0)}
    assert names == {"points.ply", "points.glb", "trajectory.txt"}
