"""Leftovers of killed runs are removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import InputError
from common.files import (
    atomic_folder,
    atomic_path,
    check_apart,
    check_file_writable,
    remove_leftovers,
    temporary_folder,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from common.files import atomic_folder, atomic_path, temporary_folder
place = Path(sys.argv[1])
with atomic_folder(place / "views") as views, atomic_path(place / "film.mp4") as film, temporary_folder(place, "stage"):
    (views / "half.png").write_bytes(b"half")
    film.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path, root: Path) -> Path:
    """A folder in which a run was killed."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, cwd=root, check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 3
    return tmp_path


def test_the_next_run_removes_them(killed: Path) -> None:
    with atomic_folder(killed / "views") as views:
        (views / "whole.png").touch()
    assert os.listdir(killed) == ["views"]


def test_those_of_a_run_that_is_alive_stay(tmp_path: Path) -> None:
    with (
        atomic_folder(tmp_path / "views"),
        atomic_path(tmp_path / "a.ply") as file,
        temporary_folder(tmp_path, "stage"),
    ):
        file.touch()
        remove_leftovers(tmp_path)
        assert len(os.listdir(tmp_path)) == 3


def test_files_of_others_stay(tmp_path: Path) -> None:
    others = [".views.tmp", ".git", "views.old", ".a.0123.tmp", ".views.ffff0000000100000000.tmp"]
    for name in others:
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    remove_leftovers(tmp_path / "nowhere")


def test_a_folder_whose_replacement_was_cut_comes_back(killed: Path) -> None:
    (unfinished,) = killed.glob(".views.*.tmp")
    (killed / unfinished.name.replace(".tmp", ".old")).mkdir()
    remove_leftovers(killed)
    assert os.listdir(killed) == ["views"]


def test_a_file_is_checked_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "film.mp4").mkdir()
    check_file_writable(tmp_path / "new" / "film.mp4")
    for file, told in (
        (tmp_path / "film.mp4", "is a folder there"),
        (tmp_path / "file" / "film.mp4", "is a file, not a folder"),
        (tmp_path / f"{'long' * 60}.mp4", "is too long"),
    ):
        with pytest.raises(InputError, match=told):
            check_file_writable(file)


def test_output_and_input_are_apart(tmp_path: Path) -> None:
    (tmp_path / "same").symlink_to(tmp_path)
    check_apart(tmp_path / "out", [tmp_path, None])
    with pytest.raises(InputError, match="also what is read from"):
        check_apart(tmp_path / "same", [None, tmp_path])
