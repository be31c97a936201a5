"""``scripts/reconstruct.py``: one whole run as users start it, and a clear line for whatever they get wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from common.command.launch import clear_errors
from common.data.sources.frame_source import SourceError
from common.export.nerfstudio import read_nerfstudio
from common.export.ply import read_ply
from tests.support.script_runs import SCRIPTS, random_model, run_script
from tests.support.tiny_scene import photos
from tests.support.videos import write_video

SCRIPT = SCRIPTS / "reconstruct.py"
call = partial(run_script, "reconstruct")
QUICK = ("run.device=cpu", "run.size=[48,64]", "reconstruction.pose_method=pointmaps", "export.confidence=1.0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("scene") / "photos")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return random_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def test_whole_run_in_a_process_of_its_own(folder: Path, model: tuple[str, ...], elsewhere: Path) -> None:
    """Relative paths, stride search, everything that can be written."""
    relative = os.path.relpath(folder, elsewhere)
    arguments = ["source=folder", f"source.path={relative}", "output=out", *model, *QUICK]
    arguments += ["reconstruction.stride_max=1", "save_predictions=true", "export.colmap=true"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert "12 frames at stride 1" in result.stdout and "%|" not in result.stderr  # no bar without a terminal
    assert [path.name for path in elsewhere.iterdir()] == ["out"]
    assert {path.name for path in (elsewhere / "out").iterdir()} == {
        *("points.ply", "trajectory.txt", "transforms.json", "summary.json", "preview.png", "frames.png"),
        *("sparse", "predictions"),
    }
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["frames"] == 12 and list(summary["strides_tried"]) == ["1"]
    assert summary["model"]["name"] == "slam3r_tiny" and summary["settings"]["stride_max"] == 1
    cloud = read_ply("out/points.ply")
    assert len(cloud.points) == summary["points"] > 0 and cloud.colors.std() > 5
    paths = read_nerfstudio("out/transforms.json").image_paths
    assert len(paths) == 12 - len(summary["frames_without_pose"])
    assert all((Path("out") / path).is_file() for path in paths)


def test_second_run_needs_leave_to_overwrite(
    folder: Path, model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["source=folder", f"source.path={folder}", "output=out", *model, *QUICK, "export.preview=false"]
    arguments += ["reconstruction.keyframe_stride=2"]
    assert call(monkeypatch, *arguments) == 0
    assert call(monkeypatch, *arguments) == 2
    assert "overwrite=true" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "overwrite=true") == 0


def test_bad_image_is_named_or_skipped(
    model: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = photos(tmp_path / "photos")
    broken = folder / "photo4.png"
    broken.write_bytes(broken.read_bytes()[:500])
    arguments = ["source=folder", f"source.path={folder}", "output=out", *model, *QUICK, "export.preview=false"]
    assert call(monkeypatch, *arguments) == 2
    assert str(broken) in capsys.readouterr().err and not Path("out").exists()
    skipping = ("source.on_bad_image=skip", "reconstruction.keyframe_stride=2")
    assert call(monkeypatch, *arguments, *skipping) == 0
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["frames"] == 11 and summary["skipped"][0]["file"] == str(broken)


FAULTS = {
    "no source": ((), "no input: give a folder of images"),
    "no path": (("source=folder",), "source.path=..."),
    "no folder": (("source=folder", "source.path=nowhere"), "folder nowhere does not exist"),
    "empty folder": (("source=folder", "source.path=."), "no images found"),
    "one image": (("source=folder", "source.path=PHOTOS", "source.suffix=photo1.png"), "only one image"),
    "no output": (("source=folder", "source.path=PHOTOS", "output=???"), "output: needs a value"),
    "unknown key": (("source=folder", "source.path=PHOTOS", "reconstruction.strid=3"), "did you mean"),
    "unknown key without a like": (("source=folder", "source.path=PHOTOS", "zzz=3"), "No such key; there are:"),
    "unknown model": (("source=folder", "source.path=PHOTOS", "model=huge"), "Could not find 'model/huge'"),
    "wrong value": (("source=folder", "source.path=PHOTOS", "reconstruction.buffer_strategy=lifo"), "'fifo'"),
    "too short": (("source=folder", "source.path=PHOTOS", "reconstruction.keyframe_stride=12"), "at least 13 frames"),
    "missing weights": (
        ("source=folder", "source.path=PHOTOS", "model.weights.local_to_world=a/b/c"),
        "come with the repository",
    ),
    "weights of the other network": (
        ("source=folder", "source.path=PHOTOS", "model.weights.local_to_world=${model.weights.image_to_points}"),
        "not a LocalToWorld",
    ),
    "weights of another size": (
        ("source=folder", "source.path=PHOTOS", "+model.sizes.encoder_width=256"),
        "encoder_width 32, not 256",
    ),
    "unreachable hub": (
        ("source=folder", "source.path=PHOTOS", "model.weights.local_to_world=nobody/nothing"),
        "neither in the local hub cache nor reachable",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_clear_line(
    fault: str,
    folder: Path,
    model: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    elsewhere: Path,
) -> None:
    given, message = FAULTS[fault]
    given = tuple(argument.replace("PHOTOS", str(folder)) for argument in given)
    assert call(monkeypatch, "output=out", *model, *given) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("error: ") and said.count("\n") == 1 and "Traceback" not in said
    assert not list(elsewhere.iterdir())


def test_clear_errors_lets_faults_of_the_program_through() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    def refused() -> None:
        raise SourceError("a\n b\n c")

    with pytest.raises(ZeroDivisionError):
        clear_errors(broken)()
    with pytest.raises(SystemExit) as stop:
        clear_errors(refused)()
    assert stop.value.code == 2


def test_the_cameras_of_a_film_name_frames_that_are_there(
    model: tuple[str, ...], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_video(elsewhere / "film.mp4", range(0, 480, 40))
    arguments = ["source=video", f"source.path={film}", "output=out", *model, *QUICK, "export.preview=false"]
    assert call(monkeypatch, *arguments, "reconstruction.keyframe_stride=2", "export.colmap=true") == 0
    paths = read_nerfstudio("out/transforms.json").image_paths
    assert paths and all((Path("out") / path).is_file() for path in paths)
    assert len(list(Path("out/images").iterdir())) == 12
