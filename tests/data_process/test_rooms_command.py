"""``python -m data_process.rooms`` keeps to the manners of its siblings: one line for what is wrong, nothing lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.command.launch import launch
from data_process import rooms
from data_process.rooms import RoomSettings, write_scenes

TINY = ("frames=2", "size=16", "workers=0")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in this process; returns its status and what it wrote to the error output."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rooms.py", *TINY, *arguments])
        status = 0
        try:
            launch(rooms.VERB)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("frames=0", "frames: expected greater than or equal to 1, got 0"),
        ("frames=2.5", "frames: expected a valid integer, got 2.5"),
        ("scenes=-1", "scenes: expected greater than or equal to 1, got -1"),
        ("scenes=many", "scenes: expected a valid integer, got 'many'"),
        ("size=0", "size: expected greater than or equal to 1"),
        ("size=[64]", "size: "),
        ("step=[0.2,0.1]", "step: expected [smallest, largest], got [0.2, 0.1]"),
        ("turn=[-3,7]", "turn"),
        ("fov=[50,200]", "fov"),
        ("fov=60", "fov: expected"),
        ("jpeg_quality=101", "jpeg_quality: expected less than or equal to 100, got 101"),
        ("workers=-1", "workers: expected greater than or equal to 0, got -1"),
        ("seed=-1", "seed: expected greater than or equal to 0, got -1"),
        ("split=test", "split: expected 'train' or 'held_out', got 'test'"),
        ("output=", "output: expected "),
        ("clutter=1.5", "clutter: expected less than or equal to 1, got 1.5"),
        ("photograph_share=-1", "photograph_share: expected greater than or equal to 0, got -1"),
        ("photographs={0}/none", "photographs: {0}/none is not a folder"),
        ("photographs={0}/foreign", "photographs: no PNG or JPEG files in {0}/foreign"),
        ("photographs={0}/broken", "photographs: {0}/broken/oak.png is not a picture that can be read"),
        ("raw=somewhere", "No such key"),
        ("output={0}/file", "is a file, not a folder"),
        ("output={0}/file/out", "is a file, not a folder"),
        ("output={0}/taken", "rooms.json is a folder there"),
        ("output={0}/foreign", "no rooms.json that says how they were made"),
        ("output={0}/damaged", "rooms.json is damaged; remove it together with its scenes"),
        ("output={0}/others", "rooms.json was written with other settings (frames, seed"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_work(command, tmp_path: Path, argument: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "rooms.json").mkdir(parents=True)
    (tmp_path / "foreign" / "scene_000000").mkdir(parents=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "oak.png").write_text("no picture")
    for name, text in (("damaged", "[1, 2"), ("others", '{"frames": 9, "size": 224}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rooms.json").write_text(text)
    output = () if argument.startswith("output") else (f"output={tmp_path}/out",)
    status, said = command("scenes=1", *output, argument.format(tmp_path))
    assert status == 2 and said.startswith("error: ") and said.count("\n") == 1 and message.format(tmp_path) in said
    assert not (tmp_path / "out").exists()


def test_a_killed_run_is_finished_by_the_next(tmp_path: Path, root: Path) -> None:
    """Killed while a scene is half written."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom data_process import rooms\n"
        "rooms._write_image = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "rooms.write_scenes(Path(sys.argv[1]), 2, rooms.RoomSettings(frames=2, size=16), 0, False)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, check=False)
    assert result.returncode == -signal.SIGKILL and len(list(tmp_path.glob(".scene_*"))) == 1
    write_scenes(tmp_path, 2, RoomSettings(frames=2, size=16), workers=0, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rooms.json", "scene_000000", "scene_000001"]


def test_photographs_and_clutter_belong_to_a_data_set(command, tmp_path: Path) -> None:
    """Old data sets, which do not name them, go on without; others keep theirs."""
    (tmp_path / "textures").mkdir()
    cv2.imwrite(str(tmp_path / "textures" / "wood.png"), np.full((16, 16, 3), 90, np.uint8))
    rich, plain = tmp_path / "rich", tmp_path / "plain"
    given = (f"photographs={tmp_path / 'textures'}", "clutter=0.5")
    assert command("scenes=1", f"output={rich}", *given)[0] == 0
    assert json.loads((rich / "rooms.json").read_text())["photographs"] == str(tmp_path / "textures")
    assert command("scenes=2", f"output={rich}", *given)[0] == 0
    status, said = command("scenes=2", f"output={rich}")
    assert status == 2 and "other settings (photographs, clutter)" in said

    assert command("scenes=1", f"output={plain}")[0] == 0
    settings = json.loads((plain / "rooms.json").read_text())
    for later in ("photographs", "photograph_share", "clutter"):
        del settings[later]
    (plain / "rooms.json").write_text(json.dumps(settings))
    assert command("scenes=2", f"output={plain}")[0] == 0
    assert "other settings (clutter)" in command("scenes=2", f"output={plain}", "clutter=1")[1]
