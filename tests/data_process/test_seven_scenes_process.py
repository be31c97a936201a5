"""7-Scenes to the processed layout, and depth moved from one camera to another."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from common.geometry.cameras import project, unproject_to_world
from common.geometry.transforms import apply_transform, invert_rigid
from data_process.formats.depth_registration import register_depth
from data_process.seven_scenes import SevenScenesSettings, convert, find_scenes
from data_process.writing.command import print_summary
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import ProcessSummary, process
from tests.support.raw_trees import color, depth_units, jpeg, png, pose, read_plane, write

DEPTH_TO_COLOR = np.eye(4)
DEPTH_TO_COLOR[0, 3] = -0.03


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    for sequence in ("seq-01", "seq-12"):
        for number in range(3):
            stem = folder / "chess" / sequence / f"frame-{number:06d}"
            write(stem.with_name(stem.name + ".color.png"), png(color(number)))
            write(
                stem.with_name(stem.name + ".depth.png"),
                png(np.where(depth_units(number) > 0, 2000, 65535).astype("u2")),
            )
            write(stem.with_name(stem.name + ".pose.txt"), pose(number))
    write(folder / "chess/TrainSplit.txt", "sequence1 \nsequence2\n")
    write(folder / "chess/TestSplit.txt", "sequence12\n")
    return folder


def run(raw: Path, output: Path, **settings) -> ProcessSummary:
    values = {
        "depth": "auto",
        "focal_depth": 40.0,
        "focal_color": 36.0,
        "principal_point": (16.0, 12.0),
        "depth_to_color": tuple(map(tuple, DEPTH_TO_COLOR.tolist())),
        "move_poses": True,
    }
    chosen = SevenScenesSettings(raw=str(raw), output=str(output), workers=0, **{**values, **settings})
    return process(DatasetInfo("7scenes", "none"), find_scenes(chosen), partial(convert, settings=chosen), chosen)


def attributes(folder: Path) -> dict:
    return json.loads((folder / "scene.json").read_text())["attributes"]


def test_sequences_and_splits(raw: Path, tmp_path: Path) -> None:
    assert run(raw, tmp_path / "out").written == ["chess_seq-01", "chess_seq-12"]
    assert attributes(tmp_path / "out/chess_seq-01")["split"] == "train"
    assert attributes(tmp_path / "out/chess_seq-12") == {
        "scene": "chess",
        "split": "test",
        "depth": "register",
        "number_step": 1,
    }


def test_raw_depth_keeps_the_depth_camera(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "out", depth="raw", scenes=["chess_seq-01"])
    scene = tmp_path / "out/chess_seq-01"
    cameras = np.load(scene / "cameras.npz")
    np.testing.assert_allclose(cameras["camera_to_world"][2], pose(2), atol=1e-6)
    np.testing.assert_allclose(cameras["intrinsics"][2], [[40, 0, 16], [0, 40, 12], [0, 0, 1]])
    depth = read_plane(scene / "depth/000002.png")
    assert depth[0, 0] == 0 and (depth.ravel()[1:] == 2000).all()  # 65535 is no depth


def test_registered_depth_has_the_colour_camera(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "out", scenes=["chess_seq-01"])
    scene = tmp_path / "out/chess_seq-01"
    cameras = np.load(scene / "cameras.npz")
    np.testing.assert_allclose(cameras["intrinsics"][1], [[36, 0, 16], [0, 36, 12], [0, 0, 1]])
    np.testing.assert_allclose(cameras["camera_to_world"][1] @ DEPTH_TO_COLOR, pose(1), atol=1e-6)
    depth = read_plane(scene / "depth/000001.png")
    assert set(np.unique(depth)) == {0, 2000} and (depth[3:21, 5:28] == 2000).all() and (depth[:, -2:] == 0).all()


def test_projected_depth_of_others_is_taken_where_it_is(raw: Path, tmp_path: Path) -> None:
    for number in range(2):  # the third frame has none
        write(raw / f"chess/seq-01/frame-{number:06d}.depth.proj.png", png(depth_units(number)))
    summary = run(raw, tmp_path / "out", move_poses=False)
    scene = tmp_path / "out/chess_seq-01"
    assert attributes(scene)["depth"] == "projected" and summary.dropped == {"no depth image": 1}
    np.testing.assert_array_equal(read_plane(scene / "depth/000001.png"), depth_units(1))
    cameras = np.load(scene / "cameras.npz")
    np.testing.assert_allclose(cameras["camera_to_world"][1], pose(1), atol=1e-6)
    assert cameras["intrinsics"][0, 0, 0] == 36


def test_faults(raw: Path, tmp_path: Path) -> None:
    folder = raw / "chess/seq-01"
    write(folder / "frame-000000.pose.txt", "nan " * 16)
    (folder / "frame-000001.depth.png").unlink()
    (folder / "frame-000002.color.png").rename(folder / "frame-000002.color.jpg")
    write(folder / "frame-000002.color.jpg", jpeg(color(2)))
    summary = run(raw, tmp_path / "out", scenes=["chess_seq-01"])
    assert summary.dropped == {"pose is not finite": 1, "no depth image": 1} and summary.frames == 1
    write(folder / "frame-000002.pose.txt", "1 2 three")
    summary = run(raw, tmp_path / "out2", scenes=["chess_seq-01"])
    assert "no usable frame" in summary.failed["chess_seq-01"]


def test_an_empty_sequence_is_left_out_with_a_line(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "office/seq-01").mkdir(parents=True)
    summary = run(raw, tmp_path / "out", scenes=["chess_seq-01", "office_seq-01"])
    assert (summary.written, summary.empty, summary.exit_code) == (["chess_seq-01"], ["office_seq-01"], 0)
    print_summary(summary, "out")
    assert "\noffice_seq-01: no frames in the raw data, left out\n" in capsys.readouterr().out


def test_registration_keeps_the_points_of_a_surface() -> None:
    """A slanted plane, moved and unprojected in the new camera, is the same plane."""
    rows, columns = np.mgrid[0:96, 0:128]
    intrinsics = np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]])
    normal, offset = np.array([0.1, -0.2, 1.0]), 2.0  # normal . x = offset
    rays = np.stack([(columns - 64) / 100, (rows - 48) / 100, np.ones_like(rows)], axis=-1)
    depth = (offset / (rays @ normal)).astype(np.float32)
    target = np.array([[70.0, 0, 60], [0, 70, 50], [0, 0, 1]])
    target_from_source = pose(1)
    target_from_source[:3, 3] = 0.1, -0.05, 0.2
    moved = register_depth(depth, intrinsics, target_from_source, target, (80, 100))
    assert moved.shape == (80, 100) and (moved > 0).mean() > 0.5
    source_from_target = torch.from_numpy(np.linalg.inv(target_from_source))
    points = unproject_to_world(torch.from_numpy(moved).double(), torch.from_numpy(target), source_from_target)
    errors = points.numpy()[moved > 0] @ normal - offset
    assert np.abs(errors).max() < 0.02  # half a pixel of the new camera on this slope


def test_registration_lets_the_nearest_surface_win() -> None:
    depth = np.full((1, 3), 2.0, np.float32)
    depth[0, 1] = 1.0
    shrink = np.array([[1e-3, 0, 0], [0, 1, 0], [0, 0, 1]])  # all pixels meet in one
    assert register_depth(depth, np.eye(3), np.eye(4), shrink).tolist() == [[1.0, 0.0, 0.0]]


def test_real_frames_agree_with_each_other(root: Path, tmp_path: Path) -> None:
    """RedKitchen: registered depth of one frame, seen from another, is that frame's depth."""
    raw = root.parent / "shared/data/7scenes/redkitchen"
    if not raw.exists():
        pytest.skip("needs ../shared/data/7scenes")
    run(
        raw,
        tmp_path,
        depth="register",
        every=50,
        focal_depth=585.0,
        focal_color=525.0,
        principal_point=(320.0, 240.0),
        depth_to_color=tuple(map(tuple, np.loadtxt(raw / "d_to_rgb.txt").tolist())),
    )
    scene = tmp_path / "redkitchen_seq-01"
    cameras = {name: torch.from_numpy(array) for name, array in np.load(scene / "cameras.npz").items()}
    assert cameras["number"].tolist() == [0, 50, 100, 150, 200, 250]
    first, second = (torch.from_numpy(read_plane(scene / f"depth/{n:06d}.png") / 1000).float() for n in (0, 50))
    world = unproject_to_world(first, cameras["intrinsics"][0], cameras["camera_to_world"][0])[first > 0]
    seen = apply_transform(invert_rigid(cameras["camera_to_world"][1]), world)
    x, y = project(seen, cameras["intrinsics"][1]).round().long().T
    inside = (x >= 0) & (x < 640) & (y >= 0) & (y < 480)
    there = second[y[inside], x[inside]]
    differences = (there - seen[inside, 2]).abs()[there > 0]
    assert len(differences) > 50_000 and differences.median() < 0.03
    theirs = read_plane(raw / "seq-01/frame-000050.depth.proj.png")
    ours = read_plane(scene / "depth/000050.png")
    both = (theirs > 0) & (ours > 0)
    assert both.mean() > 0.5 and np.median(np.abs(theirs[both].astype(int) - ours[both])) <= 1


def test_real_frames_with_official_names(root: Path, tmp_path: Path) -> None:
    raw = root.parent / "shared/data/7scenes/redkitchen_png"
    if not raw.exists():
        pytest.skip("needs ../shared/data/7scenes")
    summary = run(raw, tmp_path, depth="raw", every=4)
    assert summary.written == ["redkitchen_png_seq-01"] and summary.frames == 3 and not summary.dropped
    assert np.load(tmp_path / "redkitchen_png_seq-01/cameras.npz")["number"].tolist() == [8, 28, 48]
