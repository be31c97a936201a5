"""Where recorded vectors lie, and what their headers and shapes say about how they were made."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests.support.paths import GOLDENS, SHARED

OTHER_SET = "PARITY_VECTORS"
"""Environment variable: a folder that holds ``parity`` and ``parity_uni3r`` as ``../shared`` does. Its files are read
in place of the recorded ones, so that vectors of other sizes, seeds and images run through the same tests."""
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}


def find_vectors(folder: str, name: str, *goldens: str) -> Path:
    """A vector file, from the other set if there is one; skips the test where the file is nowhere.

    Args:
        folder: ``parity`` or ``parity_uni3r``.
        name: the file's name there.
        goldens: names of its copy, or of an excerpt, in ``tests/goldens``.
    """
    other = os.environ.get(OTHER_SET)
    candidates = [Path(other) / folder / name] if other else []
    candidates += [GOLDENS / golden for golden in goldens]
    candidates += [SHARED / folder / name]
    for path in candidates:
        if path.is_file():
            return path
    pytest.skip(f"{name} is not copied into the repository, and ../shared/{folder} is not here")


def metadata(path: Path) -> dict[str, Any]:
    """The header of a vector file, with values that are JSON parsed."""
    with safe_open(path, "pt") as file:
        raw = dict(file.metadata() or {})
    return {key: _parsed(value) for key, value in raw.items()}


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def step_between(full: int, kept: int, first: int = 0) -> int:
    """The step with which ``kept`` of ``full`` rows or columns were taken, starting at ``first``."""
    step = math.ceil((full - first) / kept)
    assert len(range(first, full, step)) == kept, f"no step takes {kept} of {full}"
    return step


def subsampling(text: str) -> slice:
    """The first ``[first::step`` of a description."""
    match = re.search(r"\[(\d*)::(\d+)", text)
    assert match, f"no subsampling in {text!r}"
    return slice(int(match[1] or 0), None, int(match[2]))


def count_in(text: str, pattern: str) -> int:
    """The number that the pattern's group finds in a description, in digits or as a word."""
    match = re.search(pattern, text)
    assert match, f"nothing like {pattern!r} in {text!r}"
    return _COUNTS[match[1]] if match[1] in _COUNTS else int(match[1])


def numbers_of(names: Any, pattern: str) -> list[int]:
    """The numbers that the pattern's group finds in tensor names, ascending; at least one."""
    numbers = sorted({int(match[1]) for name in names if (match := re.fullmatch(pattern, name))})
    assert numbers, f"no tensor is called {pattern!r}"
    return numbers


def suffix_step(names: Any, stem: str) -> tuple[str, int]:
    """(name, n) of the tensor called ``{stem}_s{n}``: every n-th row and column of a map."""
    (step,) = numbers_of(names, re.escape(stem) + r"_s(\d+)")
    return f"{stem}_s{step}", step
