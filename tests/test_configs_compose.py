"""Every configuration file composes, alone and with every option of every group, and names only what exists."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

from common.data.sources.recognition import SOURCES
from tests.support.configs import VERBS, register_all, registered_by, small_verbs

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
EXTRAS = ("lightning", "gsplat", "open_clip", "gradio", "aio_pika", "msgpack", "zstandard", "evo", "torchmetrics")

PRIMARIES = sorted(file.stem for file in CONFIGS.glob("[!_]*.yaml"))
OPTIONS = sorted(
    (file.parent.relative_to(CONFIGS).as_posix(), file.stem)
    for file in CONFIGS.rglob("*.yaml")
    if file.parent != CONFIGS and not file.stem.startswith("_")
) + [("source", name) for name in SOURCES]
COMMANDS = {verb.config: verb for verb in (*VERBS, *small_verbs())}
"""Primary file -> its command, which alone registers the settings that the file and its options take."""


@pytest.fixture(autouse=True)
def hydra_configs() -> Iterator[None]:
    register_all()
    with initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        yield


@pytest.mark.parametrize("primary", PRIMARIES)
def test_primary_composes(primary: str) -> None:
    _compose(primary, {})


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_option_composes(group: str, option: str) -> None:
    users = {name: key for name in PRIMARIES for key in _group_keys(name) if key.split("@")[0] == group}
    users = {name: key for name, key in users.items() if group != "model" or _takes_model(name, option)}
    if users:
        for primary, key in users.items():
            _compose(primary, {key: option})
    else:  # a group that is only reached from other groups: at least it must compose by itself
        compose(config_name=f"{group}/{option}")


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: file.relative_to(CONFIGS).as_posix())
def test_targets_exist(file: Path) -> None:
    for target in _targets(OmegaConf.to_container(OmegaConf.load(file))):
        try:
            get_object(target)
        except Exception as error:
            missing = [name for name in EXTRAS if importlib.util.find_spec(name) is None]
            if any(f"'{name}" in str(error) or target.startswith(f"{name}.") for name in missing):
                pytest.skip(f"{target} needs an optional package")
            raise AssertionError(f"{file.relative_to(CONFIGS)}: cannot import {target}: {error}") from error


def _compose(primary: str, choices: dict[str, str]) -> None:
    """Compose `primary`; groups whose choice is left to the user (`group: ???`) get their first option."""
    asked = {key: _options(key)[0] for key, value in _defaults(primary) if value == "???" and _options(key)}
    overrides = [f"{key}={value}" for key, value in {**asked, **choices}.items()]
    with registered_by(COMMANDS[primary]) if primary in COMMANDS else nullcontext():
        _resolve(compose(config_name=primary, overrides=overrides, return_hydra_config=True))


def _resolve(config: DictConfig) -> None:
    """Follow every interpolation of our own keys."""
    HydraConfig.instance().set_config(config)
    for key in config:
        if key != "hydra":
            _follow(config, key)


def _follow(node: Any, key: Any) -> None:
    if OmegaConf.is_missing(node, key):  # the user must give it
        return
    try:
        value = node[key]
    except InterpolationToMissingValueError:  # it depends on what the user must give
        return
    if OmegaConf.is_config(value):
        for inner in value if OmegaConf.is_dict(value) else range(len(value)):
            _follow(value, inner)


def _defaults(primary: str) -> Iterator[tuple[str, Any]]:
    """(group key, choice) pairs in the defaults list of a primary file."""
    for entry in OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{primary}.yaml")).get("defaults", []):
        if isinstance(entry, dict):  # a group; the others are single files
            for key, choice in entry.items():
                yield str(key).split(" ")[-1].lstrip("/"), choice


def _takes_model(primary: str, model: str) -> bool:
    """Whether a model is of the system that the file's own default belongs to (slam3r, uni3r)."""
    own = dict(_defaults(primary)).get("model")
    return own is None or own.split("_")[0] == model.split("_")[0]


def _group_keys(primary: str) -> list[str]:
    return [key for key, _ in _defaults(primary)]


def _options(key: str) -> list[str]:
    return [option for group, option in OPTIONS if group == key.split("@")[0]]


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_" and isinstance(value, str) and "$" not in value and value != "???":
                yield value
            else:
                yield from _targets(value)
    elif isinstance(node, list):
        for item in node:
            yield from _targets(item)
