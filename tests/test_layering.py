"""The rules of the house that a parser can check: import direction, no eval, no path edits, small files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ("common", "slam3r", "uni3r")
FOLDERS = (*CORE, "data_process", "scripts", "tests")
MAX_LINES = 450
PICKLERS = {
    *(f"pickle.{name}" for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler")),
    *("cPickle", "cloudpickle", "dill", "joblib", "shelve"),
}

# package -> what it must not import
FORBIDDEN = {
    "common": ("slam3r", "uni3r", "data_process", "scripts"),
    "slam3r": ("uni3r", "data_process", "scripts"),
    "uni3r": ("slam3r", "data_process", "scripts"),
    "data_process": ("slam3r", "uni3r", "scripts"),
    "slam3r.models": ("slam3r.reconstruction", "slam3r.service", "slam3r.app"),
    "slam3r.reconstruction": ("slam3r.service", "slam3r.app"),
    "slam3r.service": ("slam3r.app",),
}


def _files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def _core() -> list[Path]:
    """The packages without their commands, which are faces like the scripts."""
    return [file for file in _files(*CORE) if file.parent.name != "command"]


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), filename=str(file))


def _place(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def _imports(file: Path) -> Iterator[tuple[ast.AST, str]]:
    """Every imported module by its full name, also those inside functions; `from a import b` gives `a` and `a.b`."""
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*parents, *([node.module] if node.module else [])))
            yield node, module
            yield from ((node, f"{module}.{alias.name}") for alias in node.names)


def _calls(file: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _assert_none(offences: list[str], rule: str) -> None:
    assert not offences, rule + ":\n  " + "\n  ".join(offences)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package: str) -> None:
    offences = {
        f"{_place(file, node)} imports {module}"
        for file in _files(package.replace(".", "/"))
        for node, module in _imports(file)
        if any(_inside(module, other) for other in FORBIDDEN[package])
    }
    _assert_none(sorted(offences), f"{package} must not import {', '.join(FORBIDDEN[package])}")


def test_no_strings_are_executed() -> None:
    offences = [
        _place(file, node) for file in _files(*FOLDERS) for node, name in _calls(file) if name in ("eval", "exec")
    ]
    _assert_none(offences, "eval and exec of strings are not used")


def test_import_path_is_left_alone() -> None:
    offences = [
        _place(file, node)
        for file in _files(*FOLDERS)
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"
    ]
    _assert_none(offences, "sys.path is not edited: install with `pip install -e .`")


def test_checkpoints_are_read_without_pickle() -> None:
    offences = []
    for file in _files(*FOLDERS):
        offences += [f"{_place(file, node)} imports {name}" for node, name in _imports(file) if name in PICKLERS]
        for call, name in _calls(file):
            if name in PICKLERS:
                offences.append(f"{_place(file, call)} {name}")
            if name == "torch.load" and not any(_is_weights_only(keyword) for keyword in call.keywords):
                offences.append(f"{_place(file, call)} torch.load without weights_only=True")
            if name in ("np.load", "numpy.load") and any(_is_allow_pickle(keyword) for keyword in call.keywords):
                offences.append(f"{_place(file, call)} {name} with allow_pickle")
    _assert_none(offences, "a file from elsewhere must not be able to run code")


def test_core_prints_nothing() -> None:
    offences = [_place(file, node) for file in _core() for node, name in _calls(file) if name == "print"]
    _assert_none(offences, "the core prints nothing")


def test_configuration_is_hydra() -> None:
    offences = [
        _place(file, node)
        for file in _files(*FOLDERS)
        for node, name in _calls(file)
        if name.split(".")[-1] == "ArgumentParser"
    ]
    _assert_none(offences, "entry points are configured by Hydra, not argparse")


def test_importing_reseeds_nothing() -> None:
    seeders = ("torch.manual_seed", "np.random.seed", "numpy.random.seed", "random.seed")
    offences = [
        f"{_place(file, node)} {name}"
        for file in (*_core(), *_files("data_process"))
        for node, name in _calls(file)
        if name in seeders
    ]
    _assert_none(offences, "the core takes its random generator from outside")


def test_files_stay_small() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in _files(*FOLDERS)}
    offences = [f"{file.relative_to(ROOT)}: {lines} lines" for file, lines in lengths.items() if lines > MAX_LINES]
    _assert_none(offences, f"no file is longer than {MAX_LINES} lines")


def _is_weights_only(keyword: ast.keyword) -> bool:
    return keyword.arg == "weights_only" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def _is_allow_pickle(keyword: ast.keyword) -> bool:
    return keyword.arg == "allow_pickle" and not (
        isinstance(keyword.value, ast.Constant) and keyword.value.value is False
    )
