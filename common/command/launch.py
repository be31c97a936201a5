"""Launching of commands: user errors are one clear line and exit status 2, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import hydra
from hydra.utils import get_method
from omegaconf import DictConfig

from common.command.line.arguments import read_arguments, read_many
from common.command.line.checking import HYDRA_ERRORS, USER_ERRORS, checked_settings, composition_fault
from common.command.line.help_page import help_page, setting_keys, text_keys
from common.command.line.outcome import EXIT_INTERRUPTED, stop
from common.command.many.batch import run_many
from common.command.verb import Verb
from common.configuration import config_folder

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
        if many := read_many(verb, arguments, setting_keys(verb), text_keys(verb)):
            sys.exit(clear_errors(run_many)(verb, many))
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
        settings = checked_settings(config, verb)
        return (get_method(verb.run) if isinstance(verb.run, str) else verb.run)(settings)

    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=verb.config)(task)()
    except HYDRA_ERRORS as error:
        stop(composition_fault(error))
    except OSError as error:  # Hydra makes the folder of a training run itself
        if began:
            raise
        stop(f"output {error.filename}: {error.strerror}")
