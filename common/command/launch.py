"""Launching of commands: user errors are one clear line and exit status 2, never a traceback."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

import hydra
from hydra.errors import HydraException
from hydra.utils import get_method, get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from common.command.line.arguments import read_arguments
from common.command.line.help_page import help_page, setting_keys, text_keys
from common.command.line.outcome import EXIT_INTERRUPTED, stop
from common.command.verb import Verb
from common.configuration import config_folder, signature_dataclass, to_dataclass
from common.errors import CheckpointError, ConfigurationError, InputError

USER_ERRORS: tuple[type[Exception], ...] = (InputError, CheckpointError, ConfigurationError)
_HYDRA_NOISE = ("To append to your config", "Set the environment variable", "full_key:", "object_type=")

F = TypeVar("F", bound=Callable[..., Any])


def clear_errors(function: F) -> F:
    """Decorator of a command's main function (below ``@hydra.main``): `USER_ERRORS` end it with a line on stderr."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except USER_ERRORS as error:
            stop(str(error) or type(error).__name__)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            sys.exit(EXIT_INTERRUPTED)

    return guarded  # type: ignore[return-value]


def launch(verb: Verb, arguments: Sequence[str] | None = None) -> None:
    """Run a command with arguments of the command line (those of this process, where none are given).

    ``--help`` prints the command's own page. Unknown keys, missing choices, inputs that do not exist and values that do
    not fit end it like `clear_errors`, before the libraries of the command are loaded. Other exceptions come with their
    traceback, as they are faults of the program.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    verb.register()
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(help_page(verb))
        return
    try:
        words = read_arguments(verb, arguments, setting_keys(verb), text_keys(verb))
    except USER_ERRORS as error:
        stop(str(error))
    typed, sys.argv[1:] = list(sys.argv), words
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra formats errors itself and exits with 1

    began = False

    @clear_errors
    def task(config: DictConfig) -> Any:
        nonlocal began
        began = True
        sys.argv[:] = typed  # Lightning starts further ranks by it
        settings = _checked(config, verb)
        return (get_method(verb.run) if isinstance(verb.run, str) else verb.run)(settings)

    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=verb.config)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        stop(" ".join(line for line in lines if line and not line.startswith(_HYDRA_NOISE)) + _suggestion(error))
    except OSError as error:  # Hydra makes the folder of a training run itself
        if began:
            raise
        stop(f"output {error.filename}: {error.strerror}")


def _checked(config: DictConfig, verb: Verb) -> Any:
    """Argument of a command's function; faults of the source are told together with the rest."""
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


def _suggestion(error: Exception) -> str:
    """Suggestion of existing keys for an unknown one."""
    cause = error.__cause__
    if not isinstance(cause, (ConfigAttributeError, ConfigKeyError)) or not OmegaConf.is_dict(cause.parent_node):
        return ""
    known = [str(key) for key in cause.parent_node]
    close = difflib.get_close_matches(str(cause.key), known, n=1)
    return f" No such key; did you mean {close[0]}?" if close else f" No such key; there are: {', '.join(known)}"
