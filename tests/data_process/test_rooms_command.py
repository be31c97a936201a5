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
import torch

from common.command.launch import launch
from common.data.scenes.datasets.rgbd_folder import RgbdFolderDataset
from common.rooms import room_seed, room_sequence
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
        ("world=mars", "world: expected 'rooms', 'objects' or 'street', got 'mars'"),
        ("split=test", "split: expected 'train' or 'held_out', got 'test'"),
        ("output=", "output: expected "),
        ("clutter=1.5", "clutter: expected less than or equal to 1, got 1.5"),
        ("world=street clutter=1", "close and clutter are settings of rooms; leave them out with world=street"),
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
    status, said = command("scenes=1", *output, *argument.format(tmp_path).split())
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


def test_the_sky_and_what_is_beyond_the_range_of_the_files_has_no_depth(tmp_path: Path) -> None:
    write_scenes(tmp_path, 3, RoomSettings(frames=3, size=32, world="street"), workers=0, progress=False)
    data = RgbdFolderDataset(tmp_path, num_views=3, order="forward")
    for index in range(3):
        wanted = room_sequence(room_seed("train", 0, index), 3, 32, world="street").depth
        wanted = torch.where(wanted > 65.535, 0, wanted)
        assert torch.allclose(data[index].depth, wanted, atol=6e-4)
        assert (wanted == 0).any() and (wanted > 0).any()


def test_far_depth_is_left_out_and_not_cut_off(tmp_path: Path) -> None:
    views = room_sequence(0, 1, 16)
    views.depth[0, 0] = 65.5
    views.depth[0, 1] = 65.6
    rooms.save_views(tmp_path, views)
    stored = cv2.imread(str(tmp_path / "depth" / "000000.png"), cv2.IMREAD_UNCHANGED)
    assert np.all(stored[0] == 65500) and np.all(stored[1] == 0) and np.all(stored[2:] > 0)


def test_rooms_of_before_the_setting_of_the_world_are_continued_as_rooms_alone(tmp_path: Path) -> None:
    settings = RoomSettings(frames=2, size=16)
    write_scenes(tmp_path, 1, settings, workers=0, progress=False)
    claim = tmp_path / "rooms.json"
    written = json.loads(claim.read_text())
    assert written.pop("world") == "rooms"
    claim.write_text(json.dumps(written))
    assert len(write_scenes(tmp_path, 2, settings, workers=0, progress=False)) == 2
    with pytest.raises(ValueError, match=r"other settings \(world\)"):
        write_scenes(tmp_path, 2, RoomSettings(frames=2, size=16, world="street"), workers=0)
