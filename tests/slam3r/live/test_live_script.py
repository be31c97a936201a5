"""``scripts/reconstruct.py live=true``: a folder per segment, and a clear line for what does not fit."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common.configuration import to_dataclass
from common.export.ply import read_ply
from common.export.trajectory import read_tum
from slam3r.command.reconstruct import ignored_settings
from slam3r.command.settings import ReconstructCommand
from tests.support.configs import compose_config
from tests.support.script_runs import random_model, run_script
from tests.support.tiny_scene import photos

call = partial(run_script, "reconstruct")
QUICK = (
    "live=true",
    "run.device=cpu",
    "run.size=[48,64]",
    "reconstruction.keyframe_stride=1",
    "model.confidence.registered=1.0",
    "model.confidence.weak=0",
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("live")
    pictures = photos(folder / "photos", 10)
    return "source=folder", f"source.path={pictures}", *random_model(folder / "weights"), *QUICK


def test_a_live_run_writes_its_segments(
    inputs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *inputs, "output=out") == 0
    assert "10 of 10 frames registered in 1 segments" in capsys.readouterr().out
    segment = tmp_path / "out" / "segment_0000"
    summary = json.loads((segment / "summary.json").read_text())
    assert summary["num_registered"] == 10
    cloud = read_ply(segment / "points.ply")
    assert len(cloud.points) == summary["points"] > 100
    trajectory = read_tum(segment / "trajectory.txt")
    assert len(trajectory.timestamps) == summary["poses"] > 0
    assert np.isfinite(trajectory.camera_to_world).all()
    session = json.loads((tmp_path / "out" / "live.json").read_text())
    assert session["source"] == {"ended": "its last frame", "skipped": [], "notes": []}
    assert session["frames_registered"] == 10
    assert call(monkeypatch, *inputs, "output=out") == 2  # nothing is overwritten unasked
    assert "already holds live.json" in capsys.readouterr().err


def test_mistakes_are_one_line(
    inputs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    offline = [item for item in inputs if item != "live=true"]
    for arguments in (offline, inputs):  # calibrated for pictures of another shape than these, 48 x 64
        assert call(monkeypatch, *arguments, "output=out", "camera=example") == 2
        assert "calibrated for pictures of [1080, 1920]" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert call(monkeypatch, *inputs, "output=out", "view.viewer=rerun") == 2
    assert "setup.sh viewer" in capsys.readouterr().err


def test_the_map_can_be_watched_as_it_grows(
    inputs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rerun", reason="comes with the extra viewer")
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *inputs, "output=out", "view.save_to=live.rrd") == 0
    recording = (tmp_path / "live.rrd").read_bytes()
    assert recording[:3] == b"RRF"
    for entity in (b"world/segment_0/camera/image", b"world/segment_0/points"):
        assert entity in recording, entity


def test_live_runs_that_refine_their_segments_use_the_settings_of_refinement() -> None:
    def ignored(*overrides: str) -> list[str]:
        config = compose_config("reconstruct", ["source=folder", "source.path=x", "refinement=dense", *overrides])
        return ignored_settings(to_dataclass(config, ReconstructCommand))

    assert ignored("live=true") == ["refinement.mode"]
    assert ignored("live=true", "streaming.refine=true", "known.sigma=0.1") == ["known.sigma"]


def test_settings_that_a_kind_of_run_ignores_are_named(
    inputs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = ("save_predictions=true", "export.colmap=true", "refinement=dense", "run.push_batch=2")
    assert call(monkeypatch, *inputs, "output=out", *changed) == 0
    assert "live=true ignores save_predictions, export.colmap, refinement.mode\n" in capsys.readouterr().out
    assert call(monkeypatch, *inputs, "output=out/live.json", "live=false", "streaming.map.max_points=1000") == 2
    assert "live=false ignores streaming.map.max_points\n" in capsys.readouterr().out
