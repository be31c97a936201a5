"""More pictures into the world of a finished run: its poses stay, the new ones are right, other places are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import slam3r
from common.data.sources.image_files import ImageFileSource
from common.errors import InputError
from common.export.trajectory import read_tum
from common.known.settings import KnownSettings
from common.refinement.settings import Mode, RefinementSettings
from slam3r.continuation.extend import as_before
from slam3r.continuation.finished_run import read_finished_run
from slam3r.continuation.joined_source import CamerasOfRun, JoinedSource
from slam3r.scene.known.input import KnownFrame
from slam3r.scene.refined import finish_scene, hold_input
from slam3r.scene.settings import ExportSettings
from tests.slam3r.continuation.conftest import FIRST, Run
from tests.slam3r.continuation.test_localize import run
from tests.support.filmed_room import FilmedRoom
from tests.support.finished_runs import pose_errors, to_truth, write_pictures
from tests.support.refined_scene import gather, reconstructed

NEW = [9, 10, 11]


def source(folder: Path, files: list[Path], names: list[str] | None = None) -> JoinedSource:
    """A run's pictures, then these."""
    finished = read_finished_run(folder)
    more = ImageFileSource(list(zip(names or [file.name for file in files], files)), "files", min_frames=1)
    return JoinedSource(finished, more, "more/", CamerasOfRun(finished))


def test_old_and_new_pictures_are_one_source(first: Run, room: FilmedRoom, tmp_path: Path) -> None:
    files = write_pictures(room.part(NEW), tmp_path / "new")
    finished = read_finished_run(first.folder)
    cameras = CamerasOfRun(finished)
    more = ImageFileSource([("0.jpg", files[0]), ("10.png", files[1])], "files")
    frames = list(JoinedSource(finished, more, "more/", cameras))
    assert [frame.name for frame in frames[-3:]] == ["8.png", "more/0.jpg", "more/10.png"]
    assert [frame.index for frame in frames] == list(range(7))
    assert (np.diff([frame.timestamp for frame in frames]) > 0).all()
    old, new = cameras.find("0.png"), cameras.find("more/0.jpg")
    assert old is not None and new is not None
    np.testing.assert_allclose(old.camera_to_world, first.scene.camera_to_world[0], atol=1e-6)
    assert np.isnan(new.camera_to_world).all() and new.lens_of is old.lens_of  # same size: the same camera
    assert cameras.find("0.jpg") is None  # although a picture of the run is called so but for its ending


def test_old_poses_stay_and_new_ones_are_right(first: Run, room: FilmedRoom) -> None:
    both = room.part([*FIRST, *NEW])
    intrinsics = first.scene.frames[0].intrinsics
    lens = CamerasOfRun(read_finished_run(first.folder)).find("0.png")
    assert lens is not None
    old = [KnownFrame(lens.lens_of, intrinsics, pose) for pose in first.scene.camera_to_world]
    new = [KnownFrame(lens.lens_of, intrinsics, np.full((4, 4), np.nan)) for _ in NEW]
    settings = RefinementSettings(mode="cameras")
    held = hold_input(settings)
    assert held is not None
    gather(both, held, [*old, *new])
    scene = reconstructed(both)
    export = ExportSettings(confidence=2.0)
    finish_scene(scene, held, settings, export, trust=KnownSettings(poses="fixed"), progress=False)
    np.testing.assert_allclose(scene.camera_to_world[: len(FIRST)], first.scene.camera_to_world, atol=1e-5)
    transform, _ = to_truth(first.scene.camera_to_world, first.room.camera_to_world)
    for pose, number in zip(scene.camera_to_world[len(FIRST) :], NEW):
        metres, degrees = pose_errors(pose, room.camera_to_world[number].numpy(), transform)
        assert metres < 0.05 and degrees < 1


def test_other_places_are_refused_before_work(first: Run, elsewhere: Run, tmp_path: Path) -> None:
    strangers = [frame.file for frame in elsewhere.scene.frames if frame.file is not None]
    with pytest.raises(InputError, match=r"do not show what .* shows: none of 4 can be placed"):
        slam3r.extend(first.folder, strangers, tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


def test_what_the_run_wrote_is_written_again(first: Run) -> None:
    finished = read_finished_run(first.folder)
    assert as_before(finished, ExportSettings()) == ExportSettings()
    rich = replace(finished, summary={"written": ["points.ply", "sparse/0", "depths", "mesh.ply", "images"]})
    assert as_before(rich, ExportSettings()) == ExportSettings(colmap=True, depths=True, mesh=True, images=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{run}", "-o", "{new}"), "pictures"),
        (("{run}", "{run}_photos"), "output"),
        (("{run}", "{run}_photos", "-o", "{run}"), "also what is read from"),
        (("{run}", "camera:0", "-o", "{new}"), "has no end"),
        (("{run}", "{run}_photos", "-o", "{new}", "poses=free"), "poses"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], message: str, first: Run, tmp_path: Path, monkeypatch, capsys
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "extend", *(word.format(run=first.folder, new=tmp_path / "new") for word in words))
    assert stopped.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "off"])
def test_the_whole_way(room: FilmedRoom, mode: Mode, tmp_path: Path, monkeypatch, capsys) -> None:
    """A run of the small model, extended by the command: one result with everything, in the old world."""
    write_pictures(room.part(list(range(8))), tmp_path / "old")
    write_pictures(room.part([8, 9, 10, 11]), tmp_path / "more")
    settings = {"keyframe_stride": 1}
    before = slam3r.reconstruct(
        tmp_path / "old", output=tmp_path / "out", settings=settings, refinement=mode, export={"colmap": True}
    )
    run(monkeypatch, "extend", tmp_path / "out", tmp_path / "more", "-o", tmp_path / "new")
    assert "4 frames beside the 8 of the run" in capsys.readouterr().out
    summary = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert summary["frames"] == 12 and summary["made_from"]["extend"]["frames"] == [8, 4]
    assert "sparse/0" in summary["written"]
    poses = read_tum(tmp_path / "new" / "trajectory.txt").camera_to_world
    if before.verdict.applied != "none":
        np.testing.assert_allclose(poses[:8], before.camera_to_world, atol=1e-5)
        assert (
            summary["verdict"]["applied"] != "none" and summary["made_from"]["extend"]["new_frames_without_pose"] == []
        )
