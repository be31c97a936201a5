"""The shell scripts at the door: what they refuse, and what they hand on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the scripts read."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "scripts/demo.sh", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_linked_environment_is_not_pointed_elsewhere(checkout: Path) -> None:
    other = checkout / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin/python").write_text("#!/bin/sh\nexit 1\n")
    (checkout / ".venv").symlink_to(other)
    done = subprocess.run(["bash", "scripts/setup.sh"], cwd=checkout, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and f".venv is a link to {other}" in done.stderr
    assert sorted(path.name for path in other.rglob("*")) == ["bin", "python"]


@pytest.mark.parametrize("name", ["my photos", "a=b", "[x]", "ü中", "$HOME"])
def test_the_demo_hands_on_a_folder_whatever_its_name(name: str, checkout: Path) -> None:
    (checkout / name).mkdir()
    (checkout / "scripts/setup.sh").write_text("exit 0\n")
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    command = ["bash", "scripts/demo.sh", name, "threads=1"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["scripts/demo.py", f"photos={checkout / name}", "threads=1"]
