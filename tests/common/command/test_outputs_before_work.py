"""Every command knows before its work whether its output can be written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from tests.support.script_runs import run_script


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("replay", ("run={0}", "output={0}/file/film.mp4"), "is a file, not a folder"),
        ("replay", ("run={0}", "rerun={0}/taken.rrd"), "taken.rrd is a folder there"),
        ("replay", ("run={0}", "picture={0}/link/map.png"), "is a link to nothing"),
        ("profile_speed", ("output={0}/file/speed.json",), "is a file, not a folder"),
        ("profile_speed", ("output=",), "output: expected"),
        ("evaluate", ("output={0}/file",), "is a file, not a folder"),
        ("evaluate", ("compare=[{0}/a,{0}/b]", "output={0}/a"), "is also what is read from"),
        ("evaluate", ("compare=[{0}/a,{0}/b]", "output={0}/c"), "compare.md is a folder there"),
        ("evaluate", ("benchmark=depth", "benchmark.path={0}/a", "output={0}/a"), "is also what is read from"),
        ("convert", ("weights={0}/w.pth", "output={0}/file"), "is a file, not a folder"),
        ("convert", ("weights={0}/a/model.safetensors", "output={0}/a"), "is what is read; choose another folder"),
        ("train", ("experiment=tiny_i2p", "debug=true", "output={0}/file/run"), "Not a directory"),
        ("render", ("source=folder", "source.path={0}/photos", "output={0}/file"), "is a file, not a folder"),
        ("render", ("source=folder", "source.path={0}/photos", "output={0}/photos"), "is also what is read from"),
        ("reconstruct", ("source=folder", "source.path={0}/photos", "output={0}/photos"), "is also what is read from"),
        (
            "reconstruct",
            ("source=folder", "source.path={0}/photos", "live=true", "output={0}/photos"),
            "is also what is read from",
        ),
        (
            "reconstruct",
            ("source=folder", "source.path={0}/photos", "live=true", "output={0}/o", "view.save_to={0}/taken.rrd"),
            "taken.rrd is a folder there",
        ),
    ],
)
def test_what_stands_in_the_way_is_told_in_one_line(
    script: str,
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for folder in ("taken.rrd", "a", "b", "c/compare.md"):
        (tmp_path / folder).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    call = partial(run_script, script, monkeypatch)
    assert call(*(argument.format(tmp_path) for argument in arguments)) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: ") and message in said and "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before
