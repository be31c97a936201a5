"""Refinement of a segment that has ended: bounded input, another process, and a folder that is replaced or kept."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from common.export.ply import read_ply
from common.export.result_folder import write_map
from common.export.trajectory import read_tum
from common.refinement.settings import RefinementSettings
from slam3r.live.refining.segment_input import SegmentInput, read_segment_input
from slam3r.live.refining.segment_refiner import SegmentJob, SegmentRefiner, open_refiner, refine_segment
from slam3r.live.settings import StreamingSettings
from tests.support.filmed_room import FilmedRoom, film, path_error
from tests.support.full_disk import files_of_at_most
from tests.support.refined_scene import registered_frame


@pytest.fixture(scope="module")
def room() -> FilmedRoom:
    torch.manual_seed(0)
    return film(7, frames=8)


def gathered(room: FilmedRoom, most: int = 300, intrinsics: torch.Tensor | None = None) -> SegmentInput:
    held = SegmentInput(most, intrinsics)
    for index, picture in enumerate(room.pictures):
        held.keep(index, picture)
        held.add(registered_frame(room, index))
    return held


def written(room: FilmedRoom, folder: Path) -> Path:
    """The segment as a live session leaves it."""
    segment = folder / "segment_0000"
    segment.mkdir()
    poses = room.prediction.camera_to_world.numpy()
    cloud = np.zeros((5, 3), np.float32), np.zeros((5, 3), np.uint8), np.ones(5, np.float32)
    write_map(segment, cloud, np.arange(len(poses)) / 10, poses, {"number": 0, "points": 5})
    return segment


def test_memory_is_bounded_and_the_frames_are_spread_evenly(room: FilmedRoom, tmp_path: Path) -> None:
    held = gathered(room, most=3)
    assert len(held) == 2
    held.spool(tmp_path / "held.npz")
    assert read_segment_input(tmp_path / "held.npz").times.tolist() == [0.0, 0.4]


def test_frames_that_came_to_nothing_are_left_out(room: FilmedRoom) -> None:
    held = SegmentInput(10, None)
    for index in range(4):
        held.keep(index, room.pictures[index])
    held.drop(1)
    held.add(registered_frame(room, 0))
    held.add(registered_frame(room, 2))
    assert len(held) == 2


def test_the_file_holds_what_was_gathered(room: FilmedRoom, tmp_path: Path) -> None:
    focal = room.focal / 2
    calibrated = torch.tensor([[focal, 0, 79.5], [0, focal, 59.5], [0, 0, 1]], dtype=torch.float64)
    gathered(room, intrinsics=calibrated).spool(tmp_path / "held.npz")
    read = read_segment_input(tmp_path / "held.npz")
    assert torch.equal(read.prediction.depth > 0, room.prediction.valid)
    torch.testing.assert_close(read.prediction.camera_to_world, room.prediction.camera_to_world)
    for picture, expected in zip(read.pictures, room.pictures, strict=True):
        assert torch.equal(picture.image, expected.image) and picture.original_size == expected.original_size
    (camera,) = read.cameras
    assert camera is not None and camera.known and camera.fx == pytest.approx(room.focal)
    assert (camera.cx, camera.cy) == pytest.approx((159.5, 119.5))


@pytest.mark.skipif(os.name == "nt", reason="RLIMIT_FSIZE")
def test_a_full_disk_costs_the_refinement_and_leaves_nothing_behind(
    room: FilmedRoom, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = gathered(room)
    with files_of_at_most(100_000):
        assert not held.spool(tmp_path / "held.npz")
    assert list(tmp_path.iterdir()) == []
    assert "a segment will not be refined" in caplog.text


@pytest.mark.slow
def test_a_refined_segment_replaces_the_old_one(room: FilmedRoom, tmp_path: Path) -> None:
    folder, spool = written(room, tmp_path), tmp_path / "held.npz"
    gathered(room).spool(spool)
    refine_segment(SegmentJob(spool, folder), RefinementSettings(mode="auto"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["verdict"]["applied"] == "dense" and summary["number"] == 0
    assert path_error(room.prediction.camera_to_world, room.camera_to_world) > 0.02
    poses = torch.from_numpy(read_tum(folder / "trajectory.txt").camera_to_world)
    assert path_error(poses, room.camera_to_world) < 0.01
    points = read_ply(folder / "points.ply")
    assert len(points.points) == summary["points"] > 10_000 and points.confidence.min() >= 3
    assert (folder / "mesh.ply").stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held.npz", "segment_0000"]


def test_where_refinement_does_not_win_the_segment_stays_and_says_why(room: FilmedRoom, tmp_path: Path) -> None:
    blank = [type(p)(**{**vars(p), "image": torch.full_like(p.image, 128)}) for p in room.pictures]
    plain = FilmedRoom(blank, room.prediction, room.camera_to_world, room.depth, room.focal)
    folder, spool = written(plain, tmp_path), tmp_path / "held.npz"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "summary.json"}
    gathered(plain).spool(spool)
    refine_segment(SegmentJob(spool, folder), RefinementSettings(mode="auto"))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "summary.json"} == before
    verdict = json.loads((folder / "summary.json").read_text())["verdict"]
    assert verdict["applied"] == "none" and "kept" in verdict["reason"]


@pytest.mark.slow
def test_a_process_that_fails_leaves_the_segment_and_no_file(
    room: FilmedRoom, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, spool = written(room, tmp_path), tmp_path / "held.npz"
    spool.write_bytes(b"cut off")
    before = (folder / "summary.json").read_bytes()
    refiner = SegmentRefiner(RefinementSettings(mode="auto"))
    assert refiner.submit(SegmentJob(spool, folder)).result(300) is False
    refiner.close()
    assert not spool.exists() and (folder / "summary.json").read_bytes() == before
    assert "was not refined" in caplog.text


def test_it_is_off_unless_asked_for() -> None:
    assert not StreamingSettings().refine and open_refiner(StreamingSettings()) is None
    assert "refine" in asdict(StreamingSettings())
