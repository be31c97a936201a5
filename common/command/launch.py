"""Starting a command: what the user got wrong is one clear line and exit status 2, never a traceback."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from common.errors import CheckpointError, ConfigurationError, InputError

USER_ERRORS: tuple[type[Exception], ...] = (InputError, CheckpointError, ConfigurationError)
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_LONGEST_MESSAGE = 1500
_HYDRA_NOISE = ("To append to your config", "Set the environment variable", "full_key:", "object_type=")

F = TypeVar("F", bound=Callable[..., Any])


def clear_errors(function: F) -> F:
    """Decorator of a command's main function (below ``@hydra.main``): `USER_ERRORS` end it with a line on stderr."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except USER_ERRORS as error:
            _stop(str(error) or type(error).__name__)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            sys.exit(EXIT_INTERRUPTED)

    return guarded  # type: ignore[return-value]


def launch(main: Callable[[], Any]) -> None:
    """Run a ``@hydra.main`` function; unknown keys and missing choices on the command line end it like `clear_errors`.

    Other exceptions come with their traceback, as they are faults of the program.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra formats errors itself and exits with 1
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        _stop(" ".join(line for line in lines if line and not line.startswith(_HYDRA_NOISE)) + _suggestion(error))


def _suggestion(error: Exception) -> str:
    """The keys that there are, where an unknown one was given."""
    cause = error.__cause__
    if not isinstance(cause, (ConfigAttributeError, ConfigKeyError)) or not OmegaConf.is_dict(cause.parent_node):
        return ""
    known = [str(key) for key in cause.parent_node]
    close = difflib.get_close_matches(str(cause.key), known, n=1)
    return f" No such key; did you mean {close[0]}?" if close else f" No such key; there are: {', '.join(known)}"


def _stop(message: str) -> NoReturn:
    first, *rest = (line.strip() for line in message.splitlines())
    message = f"{first} {'; '.join(rest)}".strip()
    if len(message) > _LONGEST_MESSAGE:  # a checkpoint of another model can misfit in a thousand names
        message = message[:_LONGEST_MESSAGE] + " ..."
    sys.stderr.write(f"error: {message}\n")
    sys.exit(EXIT_USER_ERROR)
