"""Configurations composed as the commands compose them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

import common.command.settings
import slam3r.command.settings
import uni3r.command.settings
from common.configuration import config_folder


def compose_config(name: str, overrides: Sequence[str] = (), return_hydra_config: bool = False) -> DictConfig:
    """Compose the file `name` of ``configs`` with overrides, the defaults of all settings registered."""
    register_all()
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=return_hydra_config)


def register_all() -> None:
    """Register the settings of all commands."""
    for settings in (common.command.settings, slam3r.command.settings, uni3r.command.settings):
        settings.register_settings()
    modules = [f"data_process.{file.stem}" for file in (config_folder() / "process").glob("*.yaml")]
    for module in (*modules, "common.command.data_loading"):
        import_module(module).VERB.register()
