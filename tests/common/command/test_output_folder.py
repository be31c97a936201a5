"""Where results go when nobody says: beside the input, under a name that is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.command.line.output_folder import chosen_output, free_output, free_path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "disk/photos.v2").mkdir(parents=True)
    (tmp_path / "disk/tour.mp4").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"path": "../disk/photos.v2"}, "../disk/photos.v2_reconstruction"),
        ({"path": "../disk/photos.v2/"}, "../disk/photos.v2_reconstruction"),
        ({"path": "../disk/tour.mp4"}, "../disk/tour_reconstruction"),
        ({"pattern": "../disk/photos.v2/*.jpg"}, "../disk/photos.v2_reconstruction"),
        ({"pattern": "../disk/*/*.jpg"}, "../disk_reconstruction"),
        ({"pattern": "*.jpg"}, "reconstruction"),
        ({"path": "."}, "reconstruction"),
        ({"device": "0"}, "camera_0_reconstruction"),
        ({"device": "rtsp://me:secret@host:8554/live/1"}, "host_8554_live_1_reconstruction"),
    ],
)
def test_results_lie_beside_the_input(source: dict[str, str], expected: str) -> None:
    assert free_output(source, "reconstruction") == Path(expected)


def test_nothing_is_overwritten(folder: Path) -> None:
    source = {"path": str(folder / "disk/photos.v2")}
    first = free_output(source, "gaussians")
    first.mkdir()
    second = free_output(source, "gaussians")
    second.mkdir()
    assert (first.name, second.name) == ("photos.v2_gaussians", "photos.v2_gaussians_2")
    assert free_output(source, "gaussians").name == "photos.v2_gaussians_3"
    Path("tour.mp4").touch()
    assert free_path(Path("tour"), ".mp4") == Path("tour_2.mp4")


def test_files_of_several_folders_are_named_after_the_common_one(folder: Path) -> None:
    source = {"paths": [str(folder / "disk/photos.v2/1.jpg"), str(folder / "disk/photos.v2/2.jpg")]}
    assert free_output(source, "reconstruction") == folder / "disk/photos.v2_reconstruction"


def test_a_chosen_folder_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen_output("given", {"path": "photos"}, "gaussians") == Path("given")
    assert capsys.readouterr().out == ""
    assert chosen_output(None, {"device": "0"}, "gaussians") == Path("camera_0_gaussians")
    assert "camera_0_gaussians" in capsys.readouterr().out
