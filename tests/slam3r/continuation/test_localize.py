"""New pictures in a finished run: poses against the truth, and refusals that say why."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import slam3r
from common.errors import ConfigurationError, InputError
from common.export.trajectory import read_tum
from slam3r.command.main import main
from slam3r.continuation.finished_run import read_finished_run
from slam3r.continuation.localize import LOCALIZED
from slam3r.continuation.localizing import Placed
from tests.slam3r.continuation.conftest import FIRST, HELD, Run
from tests.support.filmed_room import FilmedRoom
from tests.support.finished_runs import pose_errors, to_truth, write_pictures, write_run


@pytest.fixture(scope="module")
def held(room: FilmedRoom, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_pictures(room.part(HELD), tmp_path_factory.mktemp("held"))


def errors(placed: Placed, number: int, first: Run, room: FilmedRoom) -> tuple[float, float]:
    """Metres and degrees from the truth, after the similarity between the run's world and the true one."""
    assert placed.camera_to_world is not None, placed.refused
    transform, _ = to_truth(first.scene.camera_to_world, first.room.camera_to_world)
    return pose_errors(placed.camera_to_world, room.camera_to_world[number].numpy(), transform)


def test_held_out_pictures_are_placed(first: Run, room: FilmedRoom, held: list[Path]) -> None:
    placed = slam3r.localize(first.folder, held, progress=False)
    for one, number in zip(placed, HELD):
        metres, degrees = errors(one, number, first, room)
        assert metres < 0.02 and degrees < 0.5
        assert one.confidence == "high" and one.focal_by == "run"
        assert one.focal == pytest.approx(room.focal, rel=0.02)
        assert one.pictures and set(one.pictures) <= {frame.name for frame in first.scene.frames}


def test_focal_length_of_another_camera(first: Run, room: FilmedRoom, held: list[Path], tmp_path: Path) -> None:
    image = np.asarray(cv2.imread(str(held[1])))
    cropped = cv2.resize(image[20:-20, 30:-30], None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(tmp_path / "phone.png"), cropped)
    (estimated,) = slam3r.localize(first.folder, tmp_path / "phone.png", progress=False)
    metres, _ = errors(estimated, HELD[1], first, room)
    assert estimated.focal_by == "estimated" and metres < 0.1
    assert estimated.focal == pytest.approx(1.5 * room.focal, rel=0.05)
    (given,) = slam3r.localize(first.folder, tmp_path / "phone.png", focal=1.5 * room.focal, progress=False)
    metres, degrees = errors(given, HELD[1], first, room)
    assert given.focal_by == "focal" and metres < 0.03 and degrees < 0.5


def test_another_camera_may_have_pictures_of_the_same_size(
    first: Run, room: FilmedRoom, held: list[Path], tmp_path: Path
) -> None:
    image = np.asarray(cv2.imread(str(held[0])))
    zoomed = cv2.resize(image[40:-40, 53:-54], (320, 240), interpolation=cv2.INTER_CUBIC)
    assert cv2.imwrite(str(tmp_path / "zoomed.png"), zoomed)
    (placed,) = slam3r.localize(first.folder, tmp_path / "zoomed.png", progress=False)
    metres, _ = errors(placed, HELD[0], first, room)
    assert metres < 0.15 and placed.focal_by == "estimated"
    assert placed.focal == pytest.approx(1.5 * room.focal, rel=0.08)


def test_other_places_are_refused(first: Run, elsewhere: Run, tmp_path: Path) -> None:
    blank = tmp_path / "wall.png"
    assert cv2.imwrite(str(blank), np.full((240, 320, 3), 200, np.uint8))
    strangers = [frame.file for frame in elsewhere.scene.frames if frame.file is not None]
    *others, wall = slam3r.localize(first.folder, [*strangers, blank], progress=False)
    assert all(one.camera_to_world is None and one.refused for one in others)
    assert "too few to be recognized" in wall.sentence() and wall.confidence == "refused"


def test_command(first: Run, held: list[Path], tmp_path: Path, monkeypatch, capsys) -> None:
    run(monkeypatch, "localize", first.folder, held[0].parent, "-o", tmp_path / "poses")
    out = capsys.readouterr().out
    assert "confidence high" in out and f"2 of 2 pictures placed: {tmp_path / 'poses' / LOCALIZED}" in out
    content = json.loads((tmp_path / "poses" / LOCALIZED).read_text())
    assert content["refined"] and [entry["name"] for entry in content["pictures"]] == [file.name for file in held]
    poses = read_tum(tmp_path / "poses" / "trajectory.txt")
    np.testing.assert_allclose(poses.camera_to_world[1], content["pictures"][1]["camera_to_world"], atol=1e-6)
    assert poses.timestamps.tolist() == [0, 1]


def test_an_unrefined_run_says_so(room: FilmedRoom, held: list[Path], tmp_path: Path, monkeypatch, capsys) -> None:
    scene = write_run(room.part(FIRST), tmp_path / "rough", "off")
    run(monkeypatch, "localize", tmp_path / "rough", *held)
    out = capsys.readouterr().out
    assert out.startswith("the run is not refined") and "2 of 2 pictures placed" in out
    content = json.loads((tmp_path / "rough" / "localized" / LOCALIZED).read_text())
    transform, _ = to_truth(scene.camera_to_world, room.part(FIRST).camera_to_world)
    for entry, number in zip(content["pictures"], HELD):
        pose = np.array(entry["camera_to_world"])
        metres, _ = pose_errors(pose, room.camera_to_world[number].numpy(), transform)
        assert metres < 0.5 and not content["refined"]  # no better than the network's own cameras


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{run}",), "pictures"),
        (("nowhere", "{held}"), "run: nowhere is no folder"),
        (("{held}", "{held}"), "expected the output of slam3r reconstruct"),
        (("{run}", "nothing.jpg"), "nothing.jpg does not exist"),
        (("{run}", "{held}", "focal=-3"), "focal"),
        (("{run}", "{held}", "focal=300", "cameras={run}/transforms.json"), "give one of them"),
        (("{run}", "{held}", "-o", "{taken}"), "already holds localized.json"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], message: str, first: Run, held: list[Path], tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / LOCALIZED).touch()
    filled = [word.format(run=first.folder, held=held[0].parent, taken=tmp_path) for word in words]
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "localize", *filled)
    error = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2 and message in error[-1] and error[0].startswith("error")


def test_what_a_run_lacks_is_named(room: FilmedRoom, first: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for file in first.folder.iterdir():
        if file.is_file() and file.name != "transforms.json":
            (copy / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=r"export\.images=true"):
        read_finished_run(copy)
    (copy / "transforms.json").write_bytes((first.folder / "transforms.json").read_bytes())
    with pytest.raises(InputError, match=r"is not there any more; export\.images=true"):
        read_finished_run(copy)
    with pytest.raises(ConfigurationError, match="none given"):
        slam3r.localize(first.folder, [])


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    """The program, with these words on its command line."""
    monkeypatch.setattr("sys.argv", ["slam3r", *map(str, words)])
    main()
