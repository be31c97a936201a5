"""Dotted names in docstrings, configurations and guides lead to something that is there."""

from __future__ import annotations

import ast
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.source_code import PACKAGES, ROOT, assert_none, files, module_name, modules, tree

NAME = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
ENDINGS = ("json", "md", "py", "safetensors", "yaml")
"""Suffixes of file names such as ``slam3r.md``."""
EXAMPLES = ("data_process.NAME",)
"""Not meant to be there."""


def test_dotted_names_are_there() -> None:
    offences = []
    for file in _text_files():
        for number, line in _lines(file):
            names = [found.group(0) for found in NAME.finditer(line)]
            offences += [f"{file.relative_to(ROOT)}:{number}: {name}" for name in names if not _is_there(name)]
    assert_none(offences, "these names lead nowhere")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of text; of Python, those of strings and comments."""
    if file.suffix != ".py":
        yield from enumerate(file.read_text().splitlines(), 1)
        return
    with file.open("rb") as content:
        for token in tokenize.tokenize(content.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT):
                yield from enumerate(token.string.splitlines(), token.start[0])


def _is_there(name: str) -> bool:
    parts = name.split(".")
    if name in EXAMPLES or parts[-1] in ENDINGS:
        return True
    length = next(count for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in modules())
    rest = parts[length:]
    return not rest or rest[0].startswith("__") or rest[0] in _defined()[".".join(parts[:length])]


@cache
def _defined() -> dict[str, set[str]]:
    """Names at the top of every module."""
    return {module_name(file): _top_names(tree(file)) for file in files(*PACKAGES)}


def _top_names(parent: ast.Module | ast.If) -> set[str]:
    names: set[str] = set()
    for node in parent.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.If):
            names |= _top_names(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            names |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names


def _text_files() -> list[Path]:
    """Files of code and text that git knows of, or all where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        return [*files(*PACKAGES, "scripts"), *(ROOT / "configs").rglob("*.yaml"), *ROOT.glob("*.md")]
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in (".py", ".yaml", ".md", ".sh", ".toml") and path.is_file()]
