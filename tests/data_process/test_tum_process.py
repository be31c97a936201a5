"""TUM RGB-D to the processed layout: three clocks, and a distorted lens."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from common.errors import ConfigurationError
from common.geometry.cameras import project, unproject_to_world
from common.geometry.transforms import apply_transform, invert_rigid
from data_process.tum import Calibration, TumSettings, associate, convert, find_scenes, nearest
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import ProcessSummary, process
from tests.support.raw_trees import color, depth_units, png, pose, read_color, read_plane, write

FR1 = Calibration(517.3, 516.5, 318.6, 255.3, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633))
SMALL = Calibration(30.0, 31.0, 15.5, 11.5, (0.0, 0.0, 0.0, 0.0, 0.0))
NAME = "rgbd_dataset_freiburg1_desk"


def run(raw: Path, output: Path, **settings) -> ProcessSummary:
    values = {"cameras": {"freiburg1": SMALL}, "depth_scale": 5000.0, "max_difference": 0.02, "undistort": True}
    chosen = TumSettings(raw=str(raw), output=str(output), workers=0, **{**values, **settings})
    return process(DatasetInfo("tum", "none"), find_scenes(chosen), partial(convert, settings=chosen), chosen)


def write_sequence(folder: Path, color_times: list[float], depth_times: list[float], pose_times: list[float]) -> None:
    """Depth image k is `depth_units(k)`, pose k is `pose(k)`."""
    for kind, times in (("rgb", color_times), ("depth", depth_times)):
        lines = [f"{time:.6f} {kind}/{time:.6f}.png" for time in times]
        write(folder / f"{kind}.txt", "\n".join(["# a comment", *lines, ""]))
        for number, time in enumerate(times):
            write(folder / kind / f"{time:.6f}.png", png((color if kind == "rgb" else depth_units)(number)))
    rows = []
    for number, time in enumerate(pose_times):
        quaternion = Rotation.from_matrix(pose(number)[:3, :3]).as_quat()
        rows.append(" ".join(f"{value:.6f}" for value in (time, *pose(number)[:3, 3], *quaternion)))
    write(folder / "groundtruth.txt", "\n".join(["# ground truth trajectory", *rows, ""]))


def test_every_image_takes_what_is_nearest_in_time(tmp_path: Path) -> None:
    write_sequence(
        tmp_path / "raw" / NAME,
        color_times=[100.000, 100.033, 100.066, 100.100, 100.133],
        depth_times=[100.013, 100.028, 100.071, 100.104],  # 0 and 1 are nearest to image 0 and 1; none for image 4
        pose_times=[99.995, 100.034, 100.065, 100.130, 100.135],  # none for image 3
    )
    summary = run(tmp_path / "raw", tmp_path / "out")
    scene = tmp_path / "out" / NAME
    cameras = np.load(scene / "cameras.npz")
    assert cameras["number"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(cameras["timestamp"], [100.0, 100.033, 100.066])
    np.testing.assert_allclose(cameras["camera_to_world"], [pose(0), pose(1), pose(2)], atol=1e-5)
    np.testing.assert_array_equal(read_plane(scene / "depth/000001.png"), depth_units(1))  # 5000 units per metre
    assert np.abs(read_color(scene / "color/000002.jpg").astype(int) - color(2)).max() <= 6
    assert summary.dropped == {"no pose within 0.02 s": 1, "no depth image within 0.02 s": 1}
    facts = json.loads((scene / "scene.json").read_text())
    assert facts["depth_scale"] == 5000 and facts["depth_range"][0] == pytest.approx(1001 / 5000)


def test_a_depth_image_is_given_away_once() -> None:
    times, others = np.array([1.00, 1.01, 2.0]), np.array([2.015, 1.008])
    assert associate(times, others, 0.02).tolist() == [-1, 1, 0]
    assert nearest(times, others, 0.02).tolist() == [1, 1, 0]
    assert nearest(times, others[:1], 0.02).tolist() == [-1, -1, 0]
    assert nearest(times, others[:0], 0.02).tolist() == [-1, -1, -1] == associate(times, others[:0], 0.02).tolist()


def test_a_straight_line_comes_out_straight(tmp_path: Path) -> None:
    """A world point is found, after processing, where the pinhole camera without distortion puts it."""
    folder = tmp_path / "raw" / NAME
    write_sequence(folder, [1.0], [1.0], [1.0])
    target = np.array([0.45, -0.35, 1.5])  # metres, in the camera: near a corner, where distortion is largest
    (distorted,), _ = cv2.projectPoints(
        target[None], np.zeros(3), np.zeros(3), FR1.intrinsics, np.array(FR1.distortion)
    )
    straight = FR1.intrinsics @ target / target[2]
    assert np.linalg.norm(distorted[0] - straight[:2]) > 3
    image, depth = np.zeros((480, 640, 3), np.uint8), np.full((480, 640), 5000, np.uint16)
    cv2.circle(image, tuple(int(v) for v in distorted[0].round()), 6, (255, 255, 255), -1)
    cv2.circle(depth, tuple(int(v) for v in distorted[0].round()), 6, 7500, -1)
    write(folder / "rgb/1.000000.png", png(image))
    write(folder / "depth/1.000000.png", png(depth))
    run(tmp_path / "raw", tmp_path / "out", cameras={"freiburg1": FR1})
    scene = tmp_path / "out" / NAME
    found_color = np.argwhere(read_color(scene / "color/000000.jpg")[..., 0] > 127).mean(0)[::-1]
    stored = read_plane(scene / "depth/000000.png")
    found_depth = np.argwhere(stored == 7500).mean(0)[::-1]
    np.testing.assert_allclose(found_color, straight[:2], atol=1)
    np.testing.assert_allclose(found_depth, straight[:2], atol=1)
    assert set(np.unique(stored)) <= {0, 5000, 7500}  # depth is not mixed


def test_faults(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / NAME
    write_sequence(folder, [1.0, 2.0], [1.0, 2.0], [1.0, 2.0])
    write(folder / "rgb/2.000000.png", png(color(1))[:-40])
    assert run(tmp_path / "raw", tmp_path / "a").dropped == {"damaged color image": 1}
    write(folder / "groundtruth.txt", "1.0 0 0\n")
    assert "groundtruth.txt:1: expected timestamp" in run(tmp_path / "raw", tmp_path / "b").failed[NAME]
    (folder / "groundtruth.txt").unlink()
    assert "has no ground truth" in run(tmp_path / "raw", tmp_path / "b").failed[NAME]
    folder.rename(folder.with_name("kitchen"))
    with pytest.raises(ConfigurationError, match="none of freiburg1 is in the name of the sequence kitchen"):
        run(tmp_path / "raw", tmp_path / "c")


def test_real_frames_agree_with_each_other(root: Path, tmp_path: Path) -> None:
    raw = root.parent / "shared/data/tum/rgbd_dataset_freiburg1_desk_9frames"
    if not raw.exists():
        pytest.skip("needs ../shared/data/tum/rgbd_dataset_freiburg1_desk_9frames")
    summary = run(raw, tmp_path, cameras={"freiburg1": FR1})
    assert summary.frames == 9 and not summary.dropped
    scene = tmp_path / summary.written[0]
    cameras = {name: torch.from_numpy(array) for name, array in np.load(scene / "cameras.npz").items()}
    first, last = (torch.from_numpy(read_plane(scene / f"depth/{n:06d}.png") / 5000).float() for n in (0, 8))
    world = unproject_to_world(first, cameras["intrinsics"][0], cameras["camera_to_world"][0])[first > 0]
    seen = apply_transform(invert_rigid(cameras["camera_to_world"][8]), world)
    x, y = project(seen, cameras["intrinsics"][8]).round().long().T
    inside = (x >= 0) & (x < 640) & (y >= 0) & (y < 480)
    there = last[y[inside], x[inside]]
    differences = (there - seen[inside, 2]).abs()[there > 0]
    assert len(differences) > 100_000 and differences.median() < 0.012
