"""Configurations composed as the commands compose them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

import common.command.verbs
import slam3r.command.verbs
import uni3r.command.verbs
from common.command.systems import register_systems
from common.command.verb import Verb
from common.configuration import config_folder

_MODULES = (common.command.verbs, slam3r.command.verbs, uni3r.command.verbs)
VERBS = [verb for module in _MODULES for verb in vars(module).values() if isinstance(verb, Verb)]
"""The commands of both systems."""


def compose_config(name: str, overrides: Sequence[str] = (), return_hydra_config: bool = False) -> DictConfig:
    """Compose the file `name` of ``configs`` with overrides, the defaults of all settings registered."""
    register_all()
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=return_hydra_config)


def register_all() -> None:
    """Register the settings of all commands."""
    register_systems()
    for verb in small_verbs():
        verb.register()


def small_verbs() -> list[Verb]:
    """The commands that stand in a module of their own: those of ``data_process``, and the loader's benchmark."""
    modules = [f"data_process.{file.stem}" for file in (config_folder() / "process").glob("*.yaml")]
    return [import_module(module).VERB for module in (*modules, "common.command.data_loading")]


@contextmanager
def registered_by(verb: Verb) -> Iterator[None]:
    """Hydra knows the settings that `verb` registers and no others, as in the process of that command."""
    store = ConfigStore.instance()
    before, store.repo = store.repo, {key: node for key, node in store.repo.items() if key.startswith(("hydra", "_"))}
    try:
        verb.register()
        yield
    finally:
        store.repo = before
