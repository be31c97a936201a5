"""The examples on the help pages are commands that there are, and compose."""

from __future__ import annotations

import shlex
from importlib import import_module
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from common.command.line.arguments import read_arguments
from common.command.line.help_page import help_page, setting_keys, text_keys
from common.command.verb import Verb
from slam3r.command.verbs import LIVE, RECONSTRUCT
from tests.support.configs import VERBS, compose_config
from tests.support.paths import ROOT

PROGRAMS = {name: import_module(f"{name}.command.main").COMMANDS for name in ("slam3r", "uni3r")}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_examples_compose(verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verb.register()
    page = help_page(verb)
    (tmp_path / "photos").mkdir()
    for name in ("tour.mp4", "left.jpg", "right.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for example in verb.examples:
        assert example in page
        words = [word for word in shlex.split(example) if not word.startswith("RABBITMQ_URL=")]
        if words[0] == "bash":
            assert (ROOT / words[1]).is_file(), example
            continue
        program, command, *arguments = words
        place = PROGRAMS[program][command].place
        assert getattr(import_module(place.rpartition(".")[0]), place.rpartition(".")[2]).config == verb.config
        overrides = read_arguments(verb, arguments, setting_keys(verb), text_keys(verb))
        assert OmegaConf.is_config(compose_config(verb.config, overrides, return_hydra_config=True)), example


def test_the_help_of_a_live_session_leaves_out_what_it_cannot_use() -> None:
    live, offline = help_page(LIVE), help_page(RECONSTRUCT)
    assert "many.workers=" in offline and "depths=" in offline and "streaming." in live
    assert not any(setting in live for setting in ("many.workers", "depths=", "export.colmap", "  live="))


@pytest.mark.parametrize(("program", "command"), [(name, one) for name in PROGRAMS for one in PROGRAMS[name]])
def test_every_command_of_a_program_is_there(program: str, command: str) -> None:
    module, _, name = PROGRAMS[program][command].place.rpartition(".")
    found = getattr(import_module(module), name)
    assert callable(found) or help_page(found).startswith(f"{program} {command} ")
