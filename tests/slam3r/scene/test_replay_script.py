"""``scripts/replay.py`` on a run that ``slam3r.reconstruct`` left: picture, film, and clear lines for what is wrong."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

import slam3r
from common.data.sources.video import VideoSource
from common.errors import InputError
from slam3r.reconstruction import Networks
from slam3r.scene.recording import read_run
from tests.support.script_runs import run_script
from tests.support.tiny_scene import photos, tiny_models

call = partial(run_script, "replay")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, slam3r.Scene]:
    folder = tmp_path_factory.mktemp("run")
    scene = slam3r.reconstruct(
        photos(folder / "photos", 8),
        Networks(*tiny_models()),
        folder / "out",
        settings={"keyframe_stride": 2, "initial_window": 3},
        export={"confidence": 1.0, "preview": False, "strip": False},
        save_predictions=True,
        device="cpu",
        size=(48, 64),
        progress=False,
    )
    return folder / "out", scene


def test_a_run_is_read_back_as_it_was(finished: tuple[Path, slam3r.Scene]) -> None:
    folder, scene = finished
    recorded = read_run(folder)
    assert len(recorded.points) == len(scene.points) and recorded.names == [frame.name for frame in scene.frames]
    np.testing.assert_allclose(recorded.camera_to_world, scene.camera_to_world, atol=1e-6)
    assert (np.diff(recorded.frame) >= 0).all()
    few = read_run(folder, max_points=500)
    assert 350 < len(few.points) < 650


def test_predictions_of_the_published_layout_are_read_alike(
    finished: tuple[Path, slam3r.Scene], tmp_path: Path
) -> None:
    """There is no mask in it: pixels without a point are zeros."""
    run = shutil.copytree(finished[0], tmp_path / "run")
    points, valid = (
        np.load(run / "predictions" / f"registered_{name}.npy", mmap_mode="r+") for name in ("pcds", "valid")
    )
    points[0, 0, :5], valid[0, 0, :5] = 0, False
    masked = read_run(run)
    assert len(masked.points) == len(read_run(finished[0]).points) - 5
    (run / "predictions" / "registered_valid.npy").unlink()
    np.testing.assert_array_equal(read_run(run).points, masked.points)


def test_a_film_and_a_picture(
    finished: tuple[Path, slam3r.Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, picture = tmp_path / "film.mp4", tmp_path / "map.png"
    options = ("film.size=[60,80]", "film.rest=2", "max_points=2000")
    assert call(monkeypatch, f"run={finished[0]}", f"output={film}", f"picture={picture}", *options) == 0
    with VideoSource(film) as source:
        assert len(list(source)) == 8 + 2
    assert cv2.imread(str(picture)).std() > 5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run=nowhere", "output=film.mp4"), "holds no run with predictions"),
        (("nowhere",), "holds no run with predictions"),
        (("output=film.mp4",), "run"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert line in error and "Traceback" not in error


def test_a_window_needs_a_display(
    finished: tuple[Path, slam3r.Scene], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems have a display")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert call(monkeypatch, f"run={finished[0]}", "window=true") == 2
    assert "no display" in capsys.readouterr().err


def test_a_confidence_that_nothing_has_is_told(finished: tuple[Path, slam3r.Scene]) -> None:
    with pytest.raises(InputError, match="no point"):
        read_run(finished[0], confidence=1e9)
