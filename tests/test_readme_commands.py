"""Every command of the READMEs names a file that is here, and every override a key that its configuration has."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest

import slam3r.command.main
import uni3r.command.main
from common.command.line.arguments import read_arguments
from common.command.line.help_page import setting_keys, text_keys
from common.command.verb import Verb
from tests.support.configs import compose_config

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / page for page in ("README.md", "data_process/README.md", "slam3r/service/README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAMS = {"slam3r": slam3r.command.main.COMMANDS, "uni3r": uni3r.command.main.COMMANDS}
INTERPRETERS = ("python", "python3", ".venv/bin/python")


def commands() -> list[tuple[str, str]]:
    """(page, command line) of shell blocks and tables, continued lines joined, comments removed."""
    found = []
    for page in PAGES:
        text = page.read_text() if page.exists() else ""
        blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.S)
        blocks += re.findall(
            r"^\| `((?:python|bash|slam3r|uni3r) [^`]*)`", text, re.M
        )  # the first column of a table of commands
        for block in blocks:
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    found.append((page.name, shlex.join(words)))
    return found


def program(line: str) -> tuple[Path, list[str]] | None:
    """The file of this repository that a command runs, and its arguments; None for other programs."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
        words.pop(0)
    if words[:1] == ["bash"] and len(words) > 1:
        return ROOT / words[1], words[2:]
    if words and words[0] in INTERPRETERS and len(words) > 1:
        if words[1] == "-m":
            return ROOT / (words[2].replace(".", "/") + ".py"), words[3:]
        if words[1].endswith(".py"):
            return ROOT / words[1], words[2:]
    return None


def command_of(line: str) -> tuple[Verb, list[str]] | None:
    """The command of ``slam3r`` or ``uni3r`` that a line runs, and its arguments; None for other programs."""
    words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_0-9]+=.*", word)]
    if words[0] not in PROGRAMS or len(words) < 2 or words[1].startswith("-"):
        return None
    module, _, name = PROGRAMS[words[0]][words[1]].place.rpartition(".")
    found = getattr(import_module(module), name)
    return (found, words[2:]) if isinstance(found, Verb) else None


def make_inputs(folder: Path, arguments: Sequence[str]) -> None:
    """Make the files and folders that a command line reads from."""
    for word in arguments:
        if re.fullmatch(r"[\w./ -]+", word) and not word.startswith("-"):
            (folder / word).parent.mkdir(parents=True, exist_ok=True)
            (folder / word).touch() if Path(word).suffix else (folder / word).mkdir(exist_ok=True)


def verb_of(path: Path) -> Verb | None:
    """The command that a Python file launches; None for other files."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "launch":
            name = ast.unparse(node.args[0])
            homes = [
                n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and name in [a.name for a in n.names]
            ]
            own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            return getattr(import_module(homes[0] if homes else own), name)
    return None


def test_there_are_commands():
    assert len([line for _, line in commands() if command_of(line)]) > 10
    assert len([line for _, line in commands() if program(line)]) > 10


@pytest.mark.parametrize(("page", "line"), commands())
def test_command_is_there_and_its_overrides_compose(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb, arguments = command_of(line) or script_of(page, line)
    if verb is None:
        pytest.skip("not a command with settings")
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path, arguments)
    verb.register()
    words = read_arguments(verb, arguments, setting_keys(verb), text_keys(verb))
    if any(word.startswith("-") for word in words):
        pytest.skip("asks Hydra for something else than a run")
    assert compose_config(verb.config, words, return_hydra_config=True)


def script_of(page: str, line: str) -> tuple[Verb | None, list[str]]:
    """The command that a line runs by a file, which has to be there."""
    path, arguments = program(line) or (None, [])
    if path is None or path.stem.isupper() or "..." in line:  # a pattern, not a command
        return None, []
    assert path.exists(), f"{page} runs {path.relative_to(ROOT)}, which is not here"
    is_help = {"--help", "-h"} & set(arguments)
    return verb_of(path) if path.suffix == ".py" and not is_help else None, arguments
