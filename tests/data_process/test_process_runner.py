"""Runs over many scenes: what is there is kept, what fails is reported, what changed on disk is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from common.command.many.engines import ENGINES
from common.command.many.settings import ManySettings
from common.errors import ConfigurationError, InputError
from data_process.errors import WriteError
from data_process.writing.command import print_summary, spread
from data_process.writing.manifest import DatasetInfo
from data_process.writing.runner import ProcessSettings, process, verify
from data_process.writing.scene_writer import SceneWriter
from tests.support.raw_trees import fill

DATASET = DatasetInfo("mini", licence="none", settings={"every": 10})


@dataclass(frozen=True)
class Scene:
    name: str


SCENES = [Scene(name) for name in ("a", "b", "c")]


def convert(scene: Scene, writer: SceneWriter, bad: str = "", log: list[str] | None = None) -> None:
    if log is not None:
        log.append(scene.name)
    fill(writer)
    writer.drop(3, "no depth image")
    if scene.name == bad:
        raise InputError("its file is damaged")


def convert_slowly(scene: Scene, writer: SceneWriter) -> None:
    """For the killed run below: b never ends."""
    convert(scene, writer)
    while scene.name == "b":
        time.sleep(0.05)


def convert_until_killed(scene: Scene, writer: SceneWriter) -> None:
    """As if the system took the memory back."""
    os.kill(os.getpid(), signal.SIGKILL)


def run(output: Path, converter=convert, dataset: DatasetInfo = DATASET, **settings):
    return process(dataset, SCENES, converter, ProcessSettings(output=str(output), **{"workers": 0, **settings}))


def test_all_scenes_and_the_manifest_are_written(tmp_path: Path) -> None:
    summary = run(tmp_path)
    assert summary.written == ["a", "b", "c"] and summary.frames == 9 and summary.exit_code == 0
    assert summary.dropped == {"no depth image": 3}
    manifest = json.loads((tmp_path / "scenes.json").read_text())
    assert (
        manifest["totals"]["scenes"] == 3 and manifest["totals"]["frames"] == 9 and manifest["totals"]["dropped"] == 3
    )
    assert manifest["scenes"]["b"] == json.loads((tmp_path / "b/scene.json").read_text())
    dataset = json.loads((tmp_path / "dataset.json").read_text())
    assert dataset["name"] == "mini" and dataset["layout"] == 1 and dataset["settings"]["every"] == 10
    assert verify(tmp_path) == []


def test_several_machines_share_the_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Machines:
        """Work one after the other, as machines with a common disk do at once."""

        def __init__(self, many: ManySettings, work: Callable[[int], None], logs: Path, count: int) -> None:
            for number in range(count):
                started.append(number)
                work(number)

        def running(self) -> int:
            return 0

        def faults(self) -> list[str]:
            return []

    monkeypatch.setitem(ENGINES, "slurm", Machines)  # type: ignore[arg-type]
    log: list[str] = []
    settings = ProcessSettings(output=str(tmp_path), workers=0, many=ManySettings(engine="slurm", workers=2))
    spread(lambda number: process(DATASET, SCENES, partial(convert, log=log), settings), settings)
    assert started == [0, 1] and log == ["a", "b", "c"]
    assert verify(tmp_path) == []


def test_a_second_run_does_only_what_is_missing(tmp_path: Path) -> None:
    run(tmp_path, scenes=["b"])
    log: list[str] = []
    summary = run(tmp_path, partial(convert, log=log))
    assert log == ["a", "c"] and summary.present == ["b"] and summary.frames == 6
    assert json.loads((tmp_path / "scenes.json").read_text())["totals"]["frames"] == 9


def test_a_bad_scene_does_not_end_the_run(tmp_path: Path) -> None:
    summary = run(tmp_path, partial(convert, bad="b"))
    assert summary.written == ["a", "c"] and summary.failed == {"b": "its file is damaged"}
    assert summary.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["a", "c"]


def test_worker_processes_write_the_same(tmp_path: Path) -> None:
    summary = run(tmp_path / "two", partial(convert, bad="b"), workers=2)
    assert sorted(summary.written) == ["a", "c"] and summary.failed == {"b": "its file is damaged"}
    run(tmp_path / "none", scenes=["a", "c"])
    assert (tmp_path / "two/scenes.json").read_bytes() == (tmp_path / "none/scenes.json").read_bytes()


def test_a_killed_worker_ends_the_run_with_advice(tmp_path: Path) -> None:
    run(tmp_path, scenes=["a"])
    with pytest.raises(InputError, match=r"a worker process was killed.*fewer workers"):
        run(tmp_path, convert_until_killed, workers=1)
    assert run(tmp_path).present == ["a"] and verify(tmp_path) == []


def test_a_killed_run_is_gone_on_with(tmp_path: Path, root: Path) -> None:
    program = (
        "from tests.data_process.test_process_runner import *\n"
        f"if __name__ == '__main__': run(Path({str(tmp_path)!r}), convert_slowly, workers=1)\n"
    )
    (tmp_path / "program.py").write_text(program)
    killed = subprocess.Popen(
        [sys.executable, tmp_path / "program.py"], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    try:
        _wait(lambda: any((folder / "depth/000002.png").exists() for folder in tmp_path.glob(".b.*")))
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    (left,) = [path for path in tmp_path.glob(".b.*") if path.is_dir()]
    _wait(lambda: not _is_alive(int(left.suffix[1:])))  # the worker does not outlive its parent
    assert (tmp_path / "a/scene.json").exists() and not (tmp_path / "b").exists()
    assert not (tmp_path / "scenes.json").exists()
    summary = run(tmp_path)
    assert summary.present == ["a"] and summary.written == ["b", "c"]
    assert verify(tmp_path) == [] and not list(tmp_path.glob(".*"))


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def _wait(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_scenes_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    run(tmp_path)
    other = DatasetInfo("mini", licence="none", settings={"every": 5})
    with pytest.raises(ConfigurationError, match=r"other settings \(every\)"):
        run(tmp_path, dataset=other)
    with pytest.raises(ConfigurationError, match="other settings"):
        run(tmp_path, dataset=other, overwrite=True, scenes=["a"])  # b and c would stay as they are
    assert verify(tmp_path / "missing") != []
    assert run(tmp_path, dataset=other, overwrite=True).written == ["a", "b", "c"]


def test_overwrite_writes_the_chosen_scenes_anew(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "a/color/000000.jpg").unlink()
    summary = run(tmp_path, overwrite=True, scenes=["a"])
    assert summary.written == ["a"] and verify(tmp_path) == []


def test_overwrite_replaces_a_scene_only_by_a_whole_one(tmp_path: Path) -> None:
    run(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file()}
    summary = run(tmp_path, partial(convert, bad="b"), overwrite=True)
    assert summary.written == ["a", "c"]
    assert summary.failed == {"b": "its file is damaged"} and summary.kept == ["b"] and summary.exit_code == 1
    assert {path: path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file()} == before
    assert verify(tmp_path) == [] and not list(tmp_path.glob(".*"))


def convert_nothing(scene: Scene, writer: SceneWriter) -> None:
    """As if the raw data had lost its frames."""


def test_an_earlier_version_of_an_empty_scene_is_no_success(tmp_path: Path) -> None:
    assert run(tmp_path, convert_nothing).exit_code == 0  # left out, and nothing is there
    run(tmp_path)
    summary = run(tmp_path, convert_nothing, overwrite=True)
    assert summary.kept == ["a", "b", "c"] and summary.exit_code == 1


def test_scenes_kept_from_other_settings_are_named_until_they_are_replaced(tmp_path: Path, capsys) -> None:
    run(tmp_path)
    other = DatasetInfo("mini", licence="none", settings={"every": 5})
    summary = run(tmp_path, partial(convert, bad="b"), dataset=other, overwrite=True)
    print_summary(summary, "out")
    assert "b: its earlier version stays, which was made with other settings" in capsys.readouterr().out
    assert verify(tmp_path) == [f"{tmp_path / 'b'}: made with other settings than dataset.json says"]
    summary = run(tmp_path, dataset=other)  # b was never asked to be overwritten, but is not what it should be
    assert summary.written == ["b"] and summary.present == ["a", "c"] and verify(tmp_path) == []


def test_overwrite_takes_no_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "holiday.jpg").touch()
    summary = run(tmp_path, overwrite=True)
    assert summary.written == ["b", "c"] and "is no processed scene; move it away" in summary.failed["a"]
    assert (tmp_path / "a" / "holiday.jpg").exists()


def test_a_scene_whose_replacement_was_cut_comes_back(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "a").rename(tmp_path / ".a.4194303.old")
    assert run(tmp_path).written == [] or verify(tmp_path) == []
    assert verify(tmp_path) == [] and not list(tmp_path.glob(".a.*"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "a/color/000001.jpg").unlink(), "a/color/000001.jpg: missing"),
        (lambda root: os.truncate(root / "b/depth/000002.png", 40), "b/depth/000002.png: truncated or altered"),
        (lambda root: _flip(root / "b/depth/000002.png"), "b/depth/000002.png: truncated or altered"),
        (lambda root: _flip(root / "c/cameras.npz"), "c/cameras.npz: truncated or altered"),
        (lambda root: (root / "c/scene.json").write_text("{}"), "c/scene.json: differs"),
        (lambda root: (root / "c/scene.json").write_text("{"), "c/scene.json: missing or damaged"),
        (lambda root: (root / "a/files.sha256").unlink(), "a/files.sha256: missing or altered"),
        (lambda root: (root / "a/color/000009.jpg").touch(), "a/color/000009.jpg: not written by this program"),
        (lambda root: (root / "a").rename(root / "d"), "a: missing"),
        (lambda root: (root / "scenes.json").unlink(), "scenes.json: missing or damaged"),
    ],
)
def test_verify_names_what_is_wrong(tmp_path: Path, damage, message: str) -> None:
    run(tmp_path)
    damage(tmp_path)
    assert any(message in problem for problem in verify(tmp_path)), verify(tmp_path)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_checksums_are_in_the_format_of_sha256sum(tmp_path: Path) -> None:
    run(tmp_path)
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "files.sha256"], cwd=tmp_path / "a")
    assert checked.returncode == 0


def test_faults_of_the_user_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="scenes: x not found"):
        run(tmp_path, scenes=["a", "x"])
    with pytest.raises(ConfigurationError, match="no scenes"):
        process(DATASET, [], convert, ProcessSettings(output=str(tmp_path)))
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"cannot write .*file"):
        run(tmp_path / "file")
