"""Words to look for are checked before a model is loaded, and each gets files of its own."""

from __future__ import annotations

import os

import pytest

from common.configuration import to_dataclass
from common.errors import ConfigurationError
from uni3r.scene.outputs import word_file_names
from uni3r.scene.settings import ExportSettings


def test_words_that_look_alike_have_files_of_their_own() -> None:
    words = ["tv stand", "tv-stand", "TV stand", "Stuhl", "Stühle", "椅子", "!?", "??"]
    names = word_file_names(words)
    assert names[:3] == ["tv_stand", "tv_stand_2", "TV_stand_3"] and names[3] == "Stuhl"
    assert len({name.casefold() for name in names}) == len(words)
    assert not any(sign in name for name in names for sign in "/\\ .")


def test_long_words_make_names_that_file_systems_take() -> None:
    names = word_file_names(["椅" * 200, "椅" * 199 + "子"])
    assert len(set(names)) == 2 and all(len(os.fsencode(f"{name}_00.png")) < 200 for name in names)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chair", " "], "must not be empty"),
        (["chair", "sofa", "chair"], "each query once, got several of chair"),
        (["tv  stand", "tv stand"], "got several of tv stand"),
        (["x" * 5000], "at most 200 characters"),
        ([f"word {number}" for number in range(1000)], "at most 200 queries"),
    ],
)
def test_words_that_do_not_work_are_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        to_dataclass({"queries": words}, ExportSettings)
