"""Files are complete or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.files import atomic_folder, atomic_path, atomic_write, read_json, write_json


def test_new_content_replaces_old(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    for text in ("first", "second\nline"):
        with atomic_write(path, "w") as file:
            file.write(text)
        assert path.read_bytes() == text.encode()
    assert os.listdir(path.parent) == ["file.txt"]


def test_old_file_survives_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), atomic_write(path) as file:
        file.write(b"new, but")
        file.flush()
        assert path.read_bytes() == b"old"
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_permissions_are_those_of_a_normal_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "atomic") as file:
        file.write(b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_path_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "cloud.ply") as temporary:
        assert temporary.suffix == ".ply" and temporary.parent == tmp_path
        temporary.write_bytes(b"ply")
    assert (tmp_path / "cloud.ply").read_bytes() == b"ply"
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "never.ply"):
        pass


def test_only_writing_from_scratch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="from scratch"), atomic_write(tmp_path / "x", "ab"):
        pass


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name in ("a", "b"):
        with atomic_folder(folder) as temporary:
            (temporary / name).write_text(name)
    assert os.listdir(folder) == ["b"]
    with pytest.raises(RuntimeError), atomic_folder(folder) as temporary:
        (temporary / "c").write_text("c")
        raise RuntimeError
    assert os.listdir(folder) == ["b"] and os.listdir(tmp_path) == ["model"]


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"name": "Küche", "numbers": [1, 2.5, None]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", float("nan"))
    assert read_json(tmp_path / "x.json") == value


def test_json_holds_names_that_are_not_utf8(tmp_path: Path) -> None:
    """A picture that was left out for its name is listed by that name."""
    name = os.fsdecode(b"caf\xe9.png")
    write_json(tmp_path / "x.json", {"skipped": name})
    assert read_json(tmp_path / "x.json") == {"skipped": name}
