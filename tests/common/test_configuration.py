from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from common.configuration import config_folder, to_dataclass
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
    path: Path | None = None
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
        ("inner: {size: [1, b]}", r"inner\.size\[1\]: expected int, got 'b'"),
        ("inner: {size: 5}", r"inner\.size: expected tuple\[int, int\], got 5"),
        ("inner: {size: [1, 2], rate: true}", r"inner\.rate: expected float, got True"),
        ("inner: {size: [1, 2], rate: null}", r"inner\.rate: expected float, got nothing"),
        ("inner: {size: [1, 2]}\nmode: other", r"mode: expected one of OFFLINE, LIVE, got 'other'"),
        ("inner: {size: [1, 2]}\ndtype: half", r"dtype: expected one of 'auto', 'float32', got 'half'"),
        ("inner: {size: [1, 2]}\nlimit: 1.5", r"limit: expected int, got 1.5"),
        ("inner: {size: [1, 2]}\neither: [1]", r"either: expected int or str"),
        ("inner: 3", r"inner: expected Inner, got 3"),
        ("inner: {size: [1, 2]}\nlimit: ${nowhere}", r"nowhere"),
    ],
)
def test_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _build(text)


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


def test_config_folder_is_in_the_checkout() -> None:
    assert config_folder().name == "configs"
