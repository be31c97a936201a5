"""The commands as a user gives them: help, one line for what is wrong, exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.command.launch import launch
from common.configuration import to_dataclass
from data_process import scannet
from data_process.lsm_scannet_test import LsmSettings
from data_process.replica import ReplicaSettings
from data_process.scannet import ScanNetSettings
from data_process.seven_scenes import SevenScenesSettings
from data_process.tum import TumSettings
from tests.support.configs import compose_config
from tests.support.raw_trees import pose, sens_bytes, write


@dataclass(frozen=True)
class Result:
    status: int | None
    out: str
    err: str


@pytest.fixture
def command(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command as ``python -m data_process.scannet`` does, without the seconds that a new process takes."""

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["scannet.py", *arguments])
        status: int | None = 0
        try:
            launch(scannet.VERB)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0
        return Result(status, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lsm_scannet_test", LsmSettings),
        ("replica", ReplicaSettings),
        ("scannet", ScanNetSettings),
        ("seven_scenes", SevenScenesSettings),
        ("tum", TumSettings),
    ],
)
def test_configuration_files_fit_their_settings(name: str, settings: type) -> None:
    config = compose_config(f"process/{name}", ["raw=a", "output=b", "scenes=[x]"])
    chosen = to_dataclass(config, settings)
    assert (chosen.raw, chosen.output, chosen.scenes, chosen.workers) == ("a", "b", ["x"], 4)


def test_help_says_what_to_give(command) -> None:
    result = command("--help")
    assert result.status == 0
    assert "raw holds <scan>/<scan>.sens" in result.out and "every=<int>, default 10" in result.out


def test_write_then_verify_then_damage(command, tmp_path: Path) -> None:
    write(tmp_path / "raw/s/s.sens", sens_bytes([pose(0)]))
    keys = (f"raw={tmp_path}/raw", f"output={tmp_path}/out", "workers=0")
    written = command(*keys)
    assert written.status == 0 and "frames written" in written.out and written.err == ""
    assert command(keys[1], "verify=true").out.endswith("all is well\n")
    (tmp_path / "out/s/depth/000000.png").unlink()
    damaged = command(keys[1], "verify=true")
    assert damaged.status == 1 and "s/depth/000000.png: missing" in damaged.out
    write(tmp_path / "raw/t/t.sens", b"")
    failed = command(*keys)
    assert failed.status == 1 and "t.sens: ends within its header" in failed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("raw={}/nowhere", "output={}"), "raw: {}/nowhere is not a folder"),
        (("raw={}", "output={}/out"), "raw: no scenes found there"),
        (("output={}",), "raw: needs a value, give raw=DIR"),
        (("raw={}", "output={}", "every=0"), "every: expected greater than or equal to 1, got 0"),
        (("raw={}", "output={}", "worker=1"), "did you mean workers?"),
    ],
)
def test_what_is_wrong_is_one_line(command, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = command(*(argument.format(tmp_path) for argument in arguments))
    assert result.status == 2 and result.err.startswith("error: ") and result.err.count("\n") == 1
    assert message.format(tmp_path) in result.err


def test_as_a_module_with_workers(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "raw/s/s.sens", sens_bytes([pose(0)]))
    line = [sys.executable, "-m", "data_process.scannet", f"raw={tmp_path}/raw", f"output={tmp_path}/out", "workers=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and result.stderr == "" and (tmp_path / "out/s/scene.json").exists()
