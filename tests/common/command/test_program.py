"""``slam3r`` and ``uni3r``: commands by name, help and errors that wait for nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slam3r.command.main import COMMANDS
from tests.support.paths import ROOT

HEAVY = ("torch", "cv2", "av", "open3d", "pycolmap", "lightning")


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, as its script in an environment runs it; the heavy packages it loaded stand at the end of stderr."""
    code = (
        f"import sys; sys.argv[0] = {program!r}; from {program}.command.main import main\n"
        "try: main()\n"
        f"finally: print('loaded:', *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_overview_and_version() -> None:
    overview = run("slam3r", "--help")
    assert overview.returncode == 0
    assert all(f"\n  {name} " in overview.stdout for name in COMMANDS)
    assert run("uni3r", "--version").stdout.startswith("uni3r ")


def test_an_unknown_command_gets_a_suggestion() -> None:
    wrong = run("slam3r", "recnstruct", "photos")
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[0] == "error: slam3r has no command 'recnstruct'; did you mean slam3r reconstruct?"
    assert "render, evaluate" in run("uni3r", "xyz").stderr


@pytest.mark.parametrize(
    "arguments",
    [("reconstruct", "--help"), ("evaluate", "--help"), ("train", "--help"), ("app", "--help")],
)
def test_help_loads_no_heavy_package(arguments: tuple[str, ...]) -> None:
    before = os.times().children_user
    page = run("slam3r", *arguments)
    assert page.returncode == 0
    assert page.stderr == "loaded:\n"
    assert os.times().children_user - before < 2, "seconds of one core, here twice what they should be"


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("slam3r", ("reconstruct", "nowhere"), "nowhere does not exist"),
        ("slam3r", ("reconstruct", "camera:0", "export.colmp=true"), "did you mean colmap?"),
        (
            "slam3r",
            ("reconstruct", "camera:0", "export.max_points=many"),
            "export.max_points: expected a valid integer",
        ),
        ("slam3r", ("reconstruct", "camera:0", "--model", "slam3r_huge"), "slam3r_large"),
        ("slam3r", ("train", "nonsense"), "tiny_i2p"),
        ("slam3r", ("train", "tiny_i2p", "seed=x"), "seed: expected a valid integer"),
        ("slam3r", ("evaluate", "rums"), "rooms"),
        ("uni3r", ("render", "camera:0", "run.sise=3"), "did you mean size?"),
    ],
)
def test_errors_of_settings_load_no_heavy_package(program: str, arguments: tuple[str, ...], message: str) -> None:
    wrong = run(program, *arguments)
    *lines, loaded = wrong.stderr.splitlines()
    assert wrong.returncode == 2
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], wrong.stderr
    assert loaded == "loaded:"
