"""The source files as a parser sees them: modules, imports and calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ("common", "slam3r", "uni3r")
PACKAGES = (*CORE, "data_process")


@dataclass(frozen=True)
class Import:
    """One imported module, as one statement names it."""

    importer: str
    """Dotted name of the importing module."""
    imported: str
    """Dotted name; ``from a import b`` gives ``a.b``, or ``a`` if that is a module of ours and ``b`` is not."""
    place: str
    """``file:line``."""
    is_late: bool
    """Inside a function."""


def files(*folders: str) -> list[Path]:
    """All Python files below folders of the repository."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


@cache
def tree(file: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(file.read_text(), filename=str(file))


def place(file: Path, node: ast.AST) -> str:
    """``file:line`` of a node."""
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def calls(file: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def module_name(file: Path) -> str:
    """Dotted name of a file's module; a package's is that of its folder."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> frozenset[str]:
    """Names of all modules of the packages."""
    return frozenset(module_name(file) for file in files(*PACKAGES))


@cache
def imports(*folders: str) -> tuple[Import, ...]:
    """All imports below folders: at the top, inside functions, and under ``TYPE_CHECKING``."""
    return tuple(found for file in files(*folders) for found in _imports_below(file, tree(file), is_late=False))


def _imports_below(file: Path, parent: ast.AST, is_late: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in _imported(file, node):
                yield Import(module_name(file), name, place(file, node), is_late)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _imports_below(file, node, is_late or inside)


def _imported(file: Path, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = file.relative_to(ROOT).parent.parts
    parents = package[: len(package) - node.level + 1] if node.level else ()
    module = ".".join((*parents, *([node.module] if node.module else [])))
    names = [f"{module}.{alias.name}" for alias in node.names]
    if module not in modules():
        return names
    return list(dict.fromkeys(name if name in modules() else module for name in names))


def assert_none(offences: list[str], rule: str) -> None:
    """Fail with one offence a line."""
    assert not offences, rule + ":\n  " + "\n  ".join(offences)
