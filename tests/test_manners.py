"""The manners of the house that a parser can check: no eval, no pickle, no print, no argparse, small files."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.source_code import CORE, ROOT, assert_none, calls, files, imports, place, tree

FOLDERS = (*CORE, "data_process", "scripts", "tests")
MAX_LINES = 450
PICKLERS = {
    *(f"pickle.{name}" for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler")),
    *("cPickle", "cloudpickle", "dill", "joblib", "shelve"),
}


def test_no_strings_are_executed() -> None:
    offences = [place(file, node) for file in files(*FOLDERS) for node, name in calls(file) if name in ("eval", "exec")]
    assert_none(offences, "eval and exec of strings are not used")


def test_import_path_is_left_alone() -> None:
    offences = [
        place(file, node)
        for file in files(*FOLDERS)
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"
    ]
    assert_none(offences, "sys.path is not edited: install with `pip install -e .`")


def test_checkpoints_are_read_without_pickle() -> None:
    offences = [f"{one.place} imports {one.imported}" for one in imports(*FOLDERS) if one.imported in PICKLERS]
    for file in files(*FOLDERS):
        for call, name in calls(file):
            if name in PICKLERS:
                offences.append(f"{place(file, call)} {name}")
            if name == "torch.load" and not any(_is_weights_only(keyword) for keyword in call.keywords):
                offences.append(f"{place(file, call)} torch.load without weights_only=True")
            if name in ("np.load", "numpy.load") and any(_is_allow_pickle(keyword) for keyword in call.keywords):
                offences.append(f"{place(file, call)} {name} with allow_pickle")
    assert_none(offences, "a file from elsewhere must not be able to run code")


def test_core_prints_nothing() -> None:
    offences = [place(file, node) for file in _core() for node, name in calls(file) if name == "print"]
    assert_none(offences, "the core prints nothing")


def test_configuration_is_hydra() -> None:
    offences = [
        place(file, node)
        for file in files(*FOLDERS)
        for node, name in calls(file)
        if name.split(".")[-1] == "ArgumentParser"
    ]
    assert_none(offences, "entry points are configured by Hydra, not argparse")


def test_importing_reseeds_nothing() -> None:
    seeders = ("torch.manual_seed", "np.random.seed", "numpy.random.seed", "random.seed")
    offences = [
        f"{place(file, node)} {name}"
        for file in (*_core(), *files("data_process"))
        for node, name in calls(file)
        if name in seeders
    ]
    assert_none(offences, "the core takes its random generator from outside")


def test_files_stay_small() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in files(*FOLDERS)}
    offences = [f"{file.relative_to(ROOT)}: {lines} lines" for file, lines in lengths.items() if lines > MAX_LINES]
    assert_none(offences, f"no file is longer than {MAX_LINES} lines")


def _core() -> list[Path]:
    """The packages without their commands, which are faces like the scripts."""
    return [file for file in files(*CORE) if "command" not in file.relative_to(ROOT).parts]


def _is_weights_only(keyword: ast.keyword) -> bool:
    return keyword.arg == "weights_only" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def _is_allow_pickle(keyword: ast.keyword) -> bool:
    return keyword.arg == "allow_pickle" and not (
        isinstance(keyword.value, ast.Constant) and keyword.value.value is False
    )
