from __future__ import annotations

import math
import random
import struct
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from common.configuration import UserPath, call_target, config_folder, to_dataclass
from common.errors import ConfigurationError


class Mode(Enum):
    OFFLINE = "offline"
    LIVE = "live"


@dataclass
class Inner:
    size: tuple[int, int]
    rate: float = 1.0


@dataclass
class Outer:
    inner: Inner
    mode: Mode = Mode.OFFLINE
    dtype: Literal["auto", "float32"] = "auto"
    path: UserPath | None = None
    limit: int | None = None
    names: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    either: int | str = 0
    parts: tuple[Inner, ...] = ()
    model: Any = None


def _build(text: str) -> Outer:
    return to_dataclass(OmegaConf.create(text), Outer)


def test_everything_is_converted() -> None:
    outer = _build("""
        inner: {size: [224, 320], rate: 2}
        mode: live
        path: ~/photos
        limit: ${inner.size[0]}
        names: [a, b]
        weights: {x: 1, y: 0.5}
        either: text
        parts: [{size: [1, 2]}]
        model: {_target_: torch.nn.Identity}
    """)
    assert outer.inner == Inner((224, 320), 2.0)
    assert isinstance(outer.inner.rate, float)
    assert outer.mode is Mode.LIVE
    assert outer.path == Path("~/photos").expanduser()
    assert outer.limit == 224
    assert outer.names == ["a", "b"]
    assert outer.weights == {"x": 1.0, "y": 0.5}
    assert outer.either == "text"
    assert outer.parts == (Inner((1, 2)),)
    assert type(outer.model) is dict


def test_defaults_serve() -> None:
    assert _build("inner: {size: [1, 2]}") == Outer(Inner((1, 2)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner: {size: [1, 2], rat: 3}", r"inner\.rat: unknown key, did you mean rate\?"),
        ("inner: {size: [1, 2]}\nzzz: 3", r"zzz: unknown key, known here: inner, mode"),
        ("mode: live", r"inner: needs a value, give inner="),
        ("inner: {rate: 1}", r"inner\.size: needs a value"),
        ("inner: {size: '???'}", r"inner\.size: needs a value"),
        ("inner: {size: [1, 2, 3]}", r"inner\.size: needs 2 values, got 3"),
        ("inner: {size: [1]}", r"inner\.size: needs at least 2 values, got 1"),
        ("inner: {size: [1, b]}", r"inner\.size\[1\]: expected a valid integer, got 'b'"),
        ("inner: {size: 5}", r"inner\.size: expected a valid array, got 5"),
        ("inner: {size: [1, 2], rate: true}", r"inner\.rate: expected a valid number, got True"),
        ("inner: {size: [1, 2], rate: '1'}", r"inner\.rate: expected a valid number, got '1'"),
        ("inner: {size: [1, 2], rate: null}", r"inner\.rate: expected a valid number, got nothing"),
        ("inner: {size: [1, 2], rate: .nan}", r"inner\.rate: expected a finite number, got nan"),
        ("inner: {size: [1, 2]}\nmodel: {any: [.inf]}", r"model\.any\[0\]: expected a finite number, got inf"),
        ("inner: {size: [1, 2]}\nmode: other", r"mode: expected 'offline' or 'live', got 'other'"),
        ("inner: {size: [1, 2]}\ndtype: half", r"dtype: expected 'auto' or 'float32', got 'half'"),
        ("inner: {size: [1, 2]}\nlimit: 1.5", r"limit: expected a valid integer, got 1.5"),
        ("inner: {size: [1, 2]}\neither: [1]", r"either: expected a valid integer or a valid string, got \[1\]"),
        ("inner: {size: [1, 2]}\nparts: [{size: [1, 2], rat: 1}]", r"parts\[0\]\.rat: unknown key, did you mean rate"),
        ("inner: 3", r"inner: expected settings \(Inner\), got 3"),
        ("inner: {size: [1, 2]}\nlimit: ${nowhere}", r"nowhere"),
    ],
)
def test_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _build(text)


def test_paths_that_are_not_utf8_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"source\.path: is no text: f.udcff; rename the file"):
        to_dataclass({"path": "f\udcff"}, dict[str, str], "source")


def test_all_faults_come_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        _build("inner: {size: [1, 2], rat: 3}\nlimit: x\nwhat: 1")
    assert all(part in str(caught.value) for part in ("inner.rat", "limit", "what"))


def test_own_checks_are_reported_with_their_place() -> None:
    @dataclass
    class Positive:
        value: int

        def __post_init__(self) -> None:
            if self.value <= 0:
                raise ValueError("value must be positive")

    with pytest.raises(ConfigurationError, match="Positive: value must be positive"):
        to_dataclass({"value": 0}, Positive)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a", "every": 1.5}, r"source\.every: expected a valid integer, got 1\.5"),
        ({"path": "a", "recursive": "maybe"}, r"source\.recursive: expected a valid boolean, got 'maybe'"),
        ({"path": None}, r"source\.path: expected a valid string"),
        ({"path": "???"}, r"source\.path: needs a value, give source\.path=\.\.\."),
        ({}, r"source\.path: needs a value, give source\.path=\.\.\."),
        ({"path": "a", "evry": 2}, r"source\.evry: unknown key, did you mean every"),
        ({"path": "a", "every": 0}, r"source: every must be 1 or more"),
    ],
)
def test_arguments_of_a_target_are_checked_against_its_signature(arguments: dict[str, Any], message: str) -> None:
    def open_folder(path: str | Path, every: int = 1, recursive: bool = False) -> int:
        if every < 1:
            raise ValueError("every must be 1 or more")
        return every

    assert call_target(open_folder, {"path": "a", "every": 3}, "source") == 3
    with pytest.raises(ConfigurationError, match=message):
        call_target(open_folder, arguments, "source")


def test_config_folder_is_in_the_checkout() -> None:
    assert config_folder().name == "configs"


def test_numbers_stay_as_they_were_to_the_last_bit() -> None:
    generator = random.Random(0)
    numbers = [struct.unpack("<d", generator.randbytes(8))[0] for _ in range(2000)]
    numbers = [number for number in numbers if math.isfinite(number)] + [0.1, 5e-324, 1.7976931348623157e308, -0.0]
    assert [number.hex() for number in to_dataclass(numbers, list[float])] == [number.hex() for number in numbers]
    integers = [0, -1, 2**63, 2**64 + 1, 2 << 30]
    assert to_dataclass(integers, list[int]) == integers


def test_containers_of_omegaconf_inside_plain_mappings_are_read() -> None:
    """Hydra hands them to constructors so."""
    nested = {"sizes": OmegaConf.create([1, 2]), "deeper": {"share": OmegaConf.create({"a": 0.5})}}
    assert to_dataclass(nested, dict[str, Any]) == {"sizes": [1, 2], "deeper": {"share": {"a": 0.5}}}
