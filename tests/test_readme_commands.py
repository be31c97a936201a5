"""Every command of the READMEs names a file that is here, and every override a key that its configuration has."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from common.command.line.help_page import text_keys
from common.command.line.overrides import literal_overrides
from common.command.verb import Verb
from tests.support.configs import compose_config

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / page for page in ("README.md", "data_process/README.md", "slam3r/service/README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
INTERPRETERS = ("python", "python3", ".venv/bin/python")


def commands() -> list[tuple[str, str]]:
    """(page, command line) of shell blocks and tables, continued lines joined, comments removed."""
    found = []
    for page in PAGES:
        text = page.read_text() if page.exists() else ""
        blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.S)
        blocks += re.findall(r"^\| `((?:python|bash) [^`]*)`", text, re.M)  # the first column of a table of commands
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
    assert len([line for _, line in commands() if program(line)]) > 10


@pytest.mark.parametrize(("page", "line"), commands())
def test_command_is_there_and_its_overrides_compose(page: str, line: str):
    parsed = program(line)
    if parsed is None:
        pytest.skip("not a command of ours")
    path, arguments = parsed
    if path.stem.isupper() or "..." in line:
        pytest.skip("a pattern, not a command")
    assert path.exists(), f"{page} runs {path.relative_to(ROOT)}, which is not here"
    verb = verb_of(path) if path.suffix == ".py" else None
    if verb is None:
        return
    if any(argument.startswith("-") for argument in arguments):
        pytest.skip("a call for help")
    verb.register()
    overrides = literal_overrides(arguments, text_keys(verb).__contains__)
    assert compose_config(verb.config, overrides, return_hydra_config=True)
