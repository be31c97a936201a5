"""Whether an output can be written is known before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.errors import InputError
from common.files import check_writable


def test_folders_that_can_be_made_pass_and_are_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "deep" / "out", ["points.ply"])
    (tmp_path / "points.ply").touch()
    check_writable(tmp_path, ["points.ply"])
    assert not (tmp_path / "deep").exists()


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "points.ply").mkdir()
    for output, told in (
        (tmp_path / "file", "is a file, not a folder"),
        (tmp_path / "file" / "out", "is a file, not a folder"),
        (tmp_path / "link", "is a link to nothing"),
        (tmp_path / "link" / "out", "is a link to nothing"),
        (tmp_path / ("long" * 70), "is too long"),
        (tmp_path, "points.ply is a folder there"),
    ):
        with pytest.raises(InputError, match=told):
            check_writable(output, ["points.ply"])


def test_a_place_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write anywhere
    with pytest.raises(InputError, match="no permission to write to"):
        check_writable(tmp_path / "out")
