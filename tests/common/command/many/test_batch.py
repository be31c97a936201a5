"""Several inputs in one call: each gets a folder and a row whatever happens to the others; a second call goes on."""

from __future__ import annotations

import csv
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.command.launch import launch
from common.command.many.board import TABLE, Board, folder_names
from common.command.many.engines import ENGINES
from common.command.many.settings import ManySettings
from common.command.many.slurm import SlurmWorkers
from common.command.many.worker import Worker
from common.errors import ConfigurationError
from tests.support.batch_work import COMMAND


class InThisProcess:
    """Workers one after the other, without a process for each."""

    def __init__(self, settings: ManySettings, function: Callable[[int], None], folder: Path, count: int) -> None:
        for number in range(count):
            function(number)

    def running(self) -> int:
        return 0

    def stop(self) -> None:
        pass

    def faults(self) -> list[str]:
        return []


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "local", InThisProcess)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scene(name: str, *events: str) -> Path:
    """An input of two files, and of those that `tests.support.batch_work` understands."""
    path = Path(name)
    path.mkdir(parents=True)
    for file in ("0.jpg", "1.jpg", *events):
        (path / file).touch()
    return path


def call(*words: str) -> int:
    """Exit status of the command."""
    with pytest.raises(SystemExit) as caught:
        launch(COMMAND, words)
    return int(caught.value.code or 0)


def rows() -> dict[str, dict[str, str]]:
    """The table by input."""
    with open(Path("out") / TABLE, newline="") as file:
        return {row["source"]: row for row in csv.DictReader(file)}


def statuses() -> dict[str, str]:
    return {source: row["status"] for source, row in rows().items()}


def test_a_killed_worker_costs_its_input_only_and_a_second_call_does_it(capfd: pytest.CaptureFixture[str]) -> None:
    scene("a", "waits")
    kills = scene("b", "kills") / "kills"
    fails = scene("c", "fails") / "fails"
    scene("d")
    command = ("a", "b", "c", "d", "-o", "out", "many.workers=2")
    assert call(*command) == 1
    assert statuses() == {"a": "done", "b": "failed", "c": "failed", "d": "done"}
    assert "worker was killed" in rows()["b"]["reason"] and rows()["c"]["reason"] == "c: nothing; usable"
    said = capfd.readouterr().out
    assert "ended by SIGKILL" in said and "failed: c: c: nothing; usable" in said and "2 done, 2 failed" in said
    assert len(list(Path("out").glob("loaded_*"))) == 2, "a model for each worker, not for each input"
    before = Path("out/a/summary.json").stat().st_mtime_ns

    kills.unlink()
    fails.unlink()
    assert call(*command) == 0
    assert set(statuses().values()) == {"done"} and rows()["b"]["frames"] == "2"
    assert Path("out/a/summary.json").stat().st_mtime_ns == before, "what is finished is not done again"
    assert "4 inputs, 2 done before" in capfd.readouterr().out


@pytest.mark.usefixtures("in_this_process")
def test_a_pattern_is_several_inputs() -> None:
    for name in ("shots/one", "shots/two"):
        scene(name)
    assert call("shots/*", "-o", "out") == 0
    assert statuses() == {"shots/one": "done", "shots/two": "done"}
    assert rows()["shots/two"]["output"] == "out/two"


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "b"], "several inputs need -o OUT"),
        (["a", "b", "-o", "out", "export.colmp=true"], "did you mean colmap?"),
        (["a", "b", "-o", "out", "many.engine=slrm"], "expected 'local', 'slurm' or 'ray'"),
        (["a", "b", "-o", "out", "many.workers=0"], "many.workers: expected"),
        (["a", "b", "-o", "out", "-m"], "-m: not with several inputs"),
        (["a", "x/a", "y/x/a", "-o", "out"], "several inputs would be written to x_a"),
        (["a", "nowhere", "-o", "out"], "a is a folder among several inputs"),
        (["a", "camera:0", "-o", "out"], "stands alone"),
        (["a", "b", "-o", "a"], "output a is also what is read from"),
        (["a", "b", "-o", "out", "model.weights.image_to_points=missing"], "missing: no such weights"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "x/a", "y/x/a"):
        scene(name)
    assert call(*words) == 2
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.usefixtures("in_this_process")
def test_results_of_other_settings_or_another_input_are_not_mixed(capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "other/a"):
        scene(name)
    assert call("a", "b", "-o", "out") == 0
    assert call("a", "b", "-o", "out", "source.every=2") == 2
    assert call("a", "b", "-o", "out", "reconstruction.window_radius=2") == 2
    assert "window_radius 5 became 2" in capfd.readouterr().err
    assert call("other/a", "b", "-o", "out") == 2
    assert "belongs to a, not to other/a" in capfd.readouterr().err
    assert call("a", "b", "-o", "out", "reconstruction.window_radius=2", "overwrite=true") == 0


def test_inputs_of_one_name_get_that_of_their_folder_in_front(folder: Path) -> None:
    paths = [folder / "a/film.mp4", folder / "b/film.mp4", folder / "c"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert folder_names(paths) == ["a_film", "b_film", "c"]


def test_an_input_that_another_call_has_is_left_to_it(folder: Path) -> None:
    scene("a")
    mine, others = (Board(folder / "out", call) for call in ("mine", "others"))
    mine.state.mkdir(parents=True)
    worker = Worker(COMMAND, mine, {"a": "a"}, {"a": ["source=folder", "source.path=a", "output=out"]})
    with others.claim("a") as is_theirs:
        assert is_theirs
        worker(0)
        assert mine.settled("a") is None
    worker(0)
    record = others.settled("a")
    assert record is not None and record.status == "done"


def test_a_worker_at_its_time_limit_puts_its_input_back(folder: Path) -> None:
    pytest.importorskip("submitit")
    board = Board(folder, "one")
    board.state.mkdir()
    board.begin("a")
    worker = Worker(COMMAND, board, {"a": "a"}, {"a": []}, current="a")
    again = worker.checkpoint(3)
    assert again.args == (3,) and again.function == dataclasses.replace(worker, current=None)
    assert board.begin("a") is None


@pytest.mark.slow
def test_submitit_runs_the_workers(folder: Path) -> None:
    pytest.importorskip("submitit")
    scene("a")
    scene("b", "fails")
    board = Board(folder / "out", "one")
    board.state.mkdir(parents=True)
    sources = {name: name for name in "ab"}
    worker = Worker(COMMAND, board, sources, {n: ["source=folder", f"source.path={n}", "output=out"] for n in sources})
    workers = SlurmWorkers(ManySettings(minutes=5), worker, board.state, 2, cluster="local")
    while workers.running():
        time.sleep(0.1)
    assert workers.faults() == []
    assert [row.status for row in board.write_table(sources)] == ["done", "failed"]


def test_without_slurm_it_says_so(folder: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(ConfigurationError, match=r"many\.engine=slurm"):
        SlurmWorkers(ManySettings(), print, folder, 1)
