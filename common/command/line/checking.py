"""From overrides to the checked settings of a command, and the errors on the way in one line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from common.command.verb import Verb
from common.configuration import config_folder, signature_dataclass, to_dataclass
from common.errors import CheckpointError, ConfigurationError, InputError

USER_ERRORS: tuple[type[Exception], ...] = (InputError, CheckpointError, ConfigurationError)
"""Errors that end a command with one line."""
HYDRA_ERRORS: tuple[type[Exception], ...] = (HydraException, OmegaConfBaseException)
"""Errors of composition; `composition_fault` makes a line of one."""
_HYDRA_NOISE = ("To append to your config", "Set the environment variable", "full_key:", "object_type=")


def composed_settings(verb: Verb, overrides: Sequence[str]) -> Any:
    """Compose a command's configuration outside of ``hydra.main`` and check it like `checked_settings`.

    Raises:
        ConfigurationError: an unknown key, or a value that does not fit.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
            return checked_settings(compose(verb.config, list(overrides)), verb)
    except HYDRA_ERRORS as error:
        raise ConfigurationError(composition_fault(error)) from error


def checked_settings(config: DictConfig, verb: Verb) -> Any:
    """Argument of a command's function; faults of the source are told together with the rest.

    Raises:
        ConfigurationError: one line per fault.
    """
    if verb.composed is not None:
        to_dataclass({field.name: config[field.name] for field in fields(verb.composed)}, verb.composed)
        return config
    faults: list[str] = []
    settings: Any = None
    try:
        settings = to_dataclass(config, verb.settings)
    except ConfigurationError as error:
        faults += str(error).splitlines()
    try:
        source = to_dataclass(config.get("source") or {}, dict[str, Any], "source")
        if "_target_" in source:
            to_dataclass(source, signature_dataclass(get_object(source.pop("_target_"))), "source")
    except ConfigurationError as error:
        faults += str(error).splitlines()
    if faults:
        raise ConfigurationError("\n".join(dict.fromkeys(faults)))
    return settings


def composition_fault(error: Exception) -> str:
    """Fault that Hydra or OmegaConf found, in a line, with existing keys for an unknown one."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(_HYDRA_NOISE)) + _suggestion(error)


def _suggestion(error: Exception) -> str:
    cause = error.__cause__
    if not isinstance(cause, (ConfigAttributeError, ConfigKeyError)) or not OmegaConf.is_dict(cause.parent_node):
        return ""
    known = [str(key) for key in cause.parent_node]
    close = difflib.get_close_matches(str(cause.key), known, n=1)
    return f" No such key; did you mean {close[0]}?" if close else f" No such key; there are: {', '.join(known)}"
