"""Numbers that make no sense are refused where they stand, before any work, by the name of their key."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

import data_process
from common.command import verbs as common_verbs
from common.command.registry import field_default
from common.command.verb import Verb
from common.configuration import to_dataclass
from common.errors import ConfigurationError
from slam3r.command import verbs as slam3r_verbs
from slam3r.evaluation import rooms as slam3r_rooms
from slam3r.evaluation import sequences
from uni3r.command import verbs as uni3r_verbs
from uni3r.evaluation import rooms as uni3r_rooms
from uni3r.evaluation import scannet

BENCHMARKS = (
    slam3r_rooms.RoomsBenchmark,
    sequences.SequenceBenchmark,
    uni3r_rooms.RoomsBenchmark,
    scannet.ScanNetBenchmark,
)
SIGNED = {
    "azimuth": "degrees to either side",
    "elevation": "degrees above or below",
    "turn": "degrees in either direction; of rooms a range",
    "circles": "turns in either direction",
    "keyframe_stride": "-1 searches for it",
    "min_correlation": "correlations are signed",
    "min_quality": "scores of CO3D are signed",
    "confidence": "a threshold below all confidences keeps all points",
    "confidence_threshold": "the same",
    **dict.fromkeys(("local", "registered", "initial", "weak"), "thresholds of confidence"),
    **dict.fromkeys(("initial_confidence", "local_threshold", "weak_confidence", "buffer_confidence"), "the same"),
    **dict.fromkeys(("k1", "k2", "k3", "p1", "p2", "distortion"), "lenses bend either way"),
}
"""Names of fields that may be negative, and why."""


def verbs() -> list[Verb]:
    """All commands."""
    described = [verb for module in (common_verbs, slam3r_verbs, uni3r_verbs) for verb in vars(module).values()]
    folder = Path(data_process.__path__[0])
    modules = [import_module(f"data_process.{file.stem}") for file in sorted(folder.glob("*.py"))]
    return [*(v for v in described if isinstance(v, Verb)), *(m.VERB for m in modules if hasattr(m, "VERB"))]


@cache
def settings_classes() -> list[type]:
    """Dataclasses of all settings of all commands and benchmarks."""
    found: dict[type, None] = {}

    def visit(cls: type) -> None:
        if cls in found:
            return
        found[cls] = None
        for kind in get_type_hints(cls).values():
            for part in (kind, *get_args(kind)):
                if is_dataclass(part):
                    visit(part)  # type: ignore[arg-type]

    for cls in [*(verb.settings for verb in verbs()), *(benchmark.settings_class for benchmark in BENCHMARKS)]:
        visit(cls)
    return list(found)


def numbers() -> Iterator[Any]:
    """(class, field name, how many numbers; 0 for one that is no tuple) of every numeric setting."""
    for cls in settings_classes():
        hints = get_type_hints(cls)
        for field in fields(cls):
            kind = hints[field.name]
            kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
            for member in kinds:
                members = get_args(member) if get_origin(member) is tuple else (member,)
                if all(part in (int, float, Ellipsis) for part in members):
                    count = len([part for part in members if part is not Ellipsis])
                    name = f"{cls.__module__}.{cls.__name__}.{field.name}"
                    yield pytest.param(cls, field.name, count * (get_origin(member) is tuple), id=f"{name}-{count}")


def refusal(cls: type, name: str, value: Any) -> str:
    """Return the message about a value of one setting; the others have their defaults. Fails if it is taken."""
    given = {field.name: _some_value(cls, field.name) for field in fields(cls) if field_default(field) is MISSING}
    with pytest.raises(ConfigurationError) as caught:
        to_dataclass({**given, name: value}, cls)
    return str(caught.value)


def _some_value(cls: type, name: str) -> Any:
    kind = get_type_hints(cls)[name]
    if get_origin(kind) is tuple:
        return [1] * len(get_args(kind))
    return {int: 1, float: 1.0, str: "x", Path: "x", dict: {}}.get(get_origin(kind) or kind, {})


@pytest.mark.parametrize(("cls", "name", "count"), numbers())
def test_no_number_of_any_command_is_taken_without_a_look(cls: type, name: str, count: int) -> None:
    for value in ([] if name in SIGNED else [-1]) + [math.nan, math.inf]:
        assert name in refusal(cls, name, [value] * count if count else value)


@pytest.mark.parametrize(("cls", "name", "count"), numbers())
def test_no_count_is_so_large_that_it_would_never_end(cls: type, name: str, count: int) -> None:
    if get_type_hints(cls)[name] not in (float, float | None) and name not in SIGNED:
        value = 10**15
        assert name in refusal(cls, name, [value] * count if count else value)


@pytest.mark.parametrize(
    ("verb", "key", "value", "expected"),
    [
        ("uni3r render", "run.field_of_view", 180, "less than 179"),
        ("uni3r render", "export.flight.fps", 0, "greater than 0"),
        ("uni3r render", "export.flight.frames", -3, "greater than or equal to 0"),
        ("slam3r replay", "film.fps", -12, "greater than 0"),
        ("slam3r replay", "film.style.field_of_view", 0, "greater than 1"),
        ("slam3r reconstruct", "threads", 0, "greater than or equal to 1"),
        ("slam3r reconstruct", "reconstruction.seed", -1, "greater than or equal to 0"),
        ("slam3r reconstruct", "streaming.map.max_points", 0, "greater than or equal to 1"),
        ("slam3r reconstruct", "refinement.cameras.focal.field_of_view", [120, 25], "[smallest, largest]"),
        ("slam3r app", "server.port", 70000, "less than or equal to 65535"),
        ("train", "seed", 2**32, "less than 4294967296"),
        ("python -m data_process.rooms", "fov", [80, 50], "[smallest, largest]"),
        ("python -m data_process.tum", "every", 0, "greater than or equal to 1"),
    ],
)
def test_the_message_names_the_key_and_the_range(verb: str, key: str, value: Any, expected: str) -> None:
    cls = next(v.settings for v in verbs() if v.name == verb)
    config: dict[str, Any] = {}
    place = config
    *sections, last = key.split(".")
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    with pytest.raises(ConfigurationError) as caught:
        to_dataclass(config, cls)
    line = next(line for line in str(caught.value).splitlines() if line.strip().startswith(key))
    assert expected in line
