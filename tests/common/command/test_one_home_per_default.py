"""A default stands once, in its dataclass or constructor: YAML files say only what differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.utils import get_object
from omegaconf import OmegaConf

from common.command.registry import arguments_of
from common.configuration import config_folder
from tests.support.configs import register_all

CONSTRUCTORS = ("benchmark", "data", "experiment", "loss", "teacher", "train.yaml")
"""Groups and files that build objects by ``_target_``. They are recipes: what a training or a benchmark was made with
stands in them in full, whatever a constructor's default becomes, and can be overridden without a plus."""


def _is_settings(file: Path) -> bool:
    return file.relative_to(config_folder()).parts[0] not in CONSTRUCTORS


FILES = sorted(filter(_is_settings, config_folder().rglob("*.yaml")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(config_folder()).as_posix())
def test_a_file_repeats_no_default(file: Path) -> None:
    repeated = dict(repeated_values(own_content(file), inherited(file)))
    assert not repeated, f"{file.name} says what is the default anyway: {repeated}"


def test_a_repeated_default_is_found() -> None:
    jitter = {"_target_": "common.data.scenes.augment.ColorJitter", "brightness": 0.2, "hue": 0.3}
    assert dict(repeated_values({"jitter": jitter}, {})) == {"jitter.brightness": 0.2}
    assert dict(repeated_values({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})) == {"a.b": 1}
    changed_before = {"jitter": {"brightness": 0.5}}  # by a parent: setting it back says something
    assert dict(repeated_values({"jitter": jitter}, changed_before)) == {}


def repeated_values(own: Mapping[str, Any], base: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of what a node says although its base, or the constructor it names, says the same."""
    target = own.get("_target_", base.get("_target_"))
    defaults = arguments_of(get_object(target)) if isinstance(target, str) and is_ours(target) else {}
    known = {**defaults, **base}
    for key, value in own.items():
        if isinstance(value, Mapping) and value:
            inner = known.get(key)
            yield from repeated_values(value, inner if isinstance(inner, Mapping) else {}, f"{path}{key}.")
        elif key != "_target_" and key in known and known[key] == value and type(known[key]) is type(value):
            yield f"{path}{key}", value


def is_ours(target: str) -> bool:
    """Whether a target is code of this repository; other libraries' defaults may change, so recipes state theirs."""
    return target.split(".")[0] in ("common", "slam3r", "uni3r")


def own_content(file: Path) -> dict[str, Any]:
    """Values that a file itself holds."""
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "defaults"}


@cache
def inherited(file: Path) -> dict[str, Any]:
    """Values from its defaults list: settings that are registered, and other files of its folder."""
    register_all()
    content = OmegaConf.load(file)
    entries = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    together = OmegaConf.create({})
    for entry in entries:
        name, _, package = entry.partition("@")
        node = registered(name) if name.startswith("/settings/") else whole(beside(file, name))
        for part in reversed([] if package in ("", "_here_") else package.split(".")):
            node = {part: node}
        together = OmegaConf.merge(together, node)
    plain = OmegaConf.to_container(together, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def beside(file: Path, name: str) -> Path:
    """The file that an entry of a defaults list names."""
    return (config_folder() / name.lstrip("/") if name.startswith("/") else file.parent / name).with_suffix(".yaml")


def whole(file: Path) -> dict[str, Any]:
    """A file with what it inherits."""
    merged = OmegaConf.to_container(OmegaConf.merge(inherited(file), own_content(file)), resolve=False)
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}


def registered(name: str) -> Any:
    """The node of a registered settings class."""
    return OmegaConf.to_container(ConfigStore.instance().load(f"{name.lstrip('/')}.yaml").node, resolve=False)
