"""Replica as released with NICE-SLAM to the processed layout."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common.data.scenes.scene_folder import DataError
from data_process.replica import ReplicaSettings, convert, find_scenes
from data_process.writing.manifest import DatasetInfo, verify
from data_process.writing.runner import ProcessSummary, process
from tests.support.raw_trees import color, depth_units, jpeg, png, pose, read_plane, write


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    camera = {"w": 32, "h": 24, "fx": 30.0, "fy": 31.0, "cx": 15.5, "cy": 11.5, "scale": 6553.5}
    write(folder / "cam_params.json", json.dumps({"camera": camera}))
    for name in ("office0", "room1"):
        write(folder / name / "traj.txt", np.stack([pose(number).ravel() for number in range(4)]))
        for number in range(4):
            write(folder / name / f"results/frame{number:06d}.jpg", jpeg(color(number)))
            write(folder / name / f"results/depth{number:06d}.png", png(depth_units(number)))
    write(folder / "room1_mesh.ply", "ply")
    return folder


def run(raw: Path, output: Path, **settings) -> ProcessSummary:
    chosen = ReplicaSettings(raw=str(raw), output=str(output), workers=0, **settings)
    return process(DatasetInfo("replica", "none"), find_scenes(chosen), partial(convert, settings=chosen), chosen)


def test_rooms(raw: Path, tmp_path: Path) -> None:
    assert run(raw, tmp_path / "out", every=2).written == ["office0", "room1"]
    room = tmp_path / "out/room1"
    cameras = np.load(room / "cameras.npz")
    assert cameras["number"].tolist() == [0, 2]
    np.testing.assert_allclose(cameras["camera_to_world"], [pose(0), pose(2)], atol=1e-6)
    np.testing.assert_allclose(cameras["intrinsics"][1], [[30, 0, 15.5], [0, 31, 11.5], [0, 0, 1]])
    np.testing.assert_array_equal(read_plane(room / "depth/000002.png"), depth_units(2))  # nothing is lost
    assert (room / "color/000002.jpg").read_bytes() == (raw / "room1/results/frame000002.jpg").read_bytes()
    facts = json.loads((room / "scene.json").read_text())
    assert facts["depth_scale"] == 6553.5 and facts["depth_range"][0] == pytest.approx(1001 / 6553.5)
    assert verify(tmp_path / "out") == []


def test_faults(raw: Path, tmp_path: Path) -> None:
    (raw / "room1/results/depth000001.png").unlink()
    write(raw / "room1/results/frame000004.jpg", jpeg(color(4)))  # beyond the trajectory
    write(raw / "office0/traj.txt", "1 0 0\n")
    summary = run(raw, tmp_path / "out")
    assert "traj.txt: expected 16 numbers on every line" in summary.failed["office0"]
    assert summary.dropped == {"no depth image": 1, "no pose": 1}
    (raw / "cam_params.json").write_text("{}")
    with pytest.raises(DataError, match=r"cam_params.json: expected camera"):
        run(raw, tmp_path / "out2")


def test_a_stray_file_number_costs_no_time(raw: Path, tmp_path: Path) -> None:
    write(raw / "room1/results/frame999999999999.jpg", jpeg(color(4)))
    summary = run(raw, tmp_path / "out")
    assert summary.written == ["office0", "room1"] and summary.dropped == {"no pose": 1}


def test_poses_that_are_lost_lose_their_frame_only(raw: Path, tmp_path: Path) -> None:
    poses = np.stack([pose(number).ravel() for number in range(4)])
    poses[1], poses[2, 3] = np.nan, np.inf
    write(raw / "room1/traj.txt", poses)
    assert run(raw, tmp_path / "out").dropped == {"pose is not finite": 2}
    assert json.loads((tmp_path / "out/room1/scene.json").read_text())["frames"] == 2


@pytest.mark.parametrize("change", [{"scale": 0}, {"fx": -30.0}, {"cy": float("nan")}, {"scale": float("inf")}])
def test_a_camera_that_cannot_be_is_refused(raw: Path, change: dict[str, float]) -> None:
    camera = {"fx": 30.0, "fy": 31.0, "cx": 15.5, "cy": 11.5, "scale": 6553.5, **change}
    write(raw / "cam_params.json", json.dumps({"camera": camera}))
    with pytest.raises(DataError, match=r"cam_params.json: expected finite numbers, fx, fy and scale positive"):
        find_scenes(ReplicaSettings(raw=str(raw), output="out"))


@pytest.mark.parametrize("text", ["1 2 3 4\n" * 4, "one\n"])
def test_a_trajectory_of_another_shape_is_not_folded(raw: Path, tmp_path: Path, text: str) -> None:
    write(raw / "room1/traj.txt", text)
    assert "room1/traj.txt: expected 16 numbers on every line" in run(raw, tmp_path / "out").failed["room1"]
