"""Description of a command: name, configuration, settings, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SHORT = {"-o": "output", "--output": "output", "--model": "model"}
"""Option of every command that has the setting -> the setting that it stands for."""


@dataclass(frozen=True)
class Verb:
    """A command of the command line. Describing it loads none of the libraries that running it needs."""

    name: str
    """Name on the command line, such as ``slam3r reconstruct``."""
    config: str
    """Primary file of ``configs``, without its ending."""
    settings: type
    """Dataclass of the settings of this command."""
    run: str | Callable[[Any], Any]
    """Function that does the work, or its dotted name, which is imported after the settings were checked."""
    register: Callable[[], None]
    """Makes the defaults known to Hydra (`common.command.registry`)."""
    summary: str
    """One paragraph on input and output."""
    examples: tuple[str, ...]
    """Command lines that work."""
    fixed: tuple[str, ...] = ()
    """Overrides that make this command what it is, such as ``live=true``."""
    usual: tuple[str, ...] = ()
    """Overrides for keys that the user does not give, where the primary file serves another command as well."""
    input: str = ""
    """Setting that a word without ``=`` gives; ``source`` for whatever frames come from, which is recognized."""
    input_name: str = ""
    """Name of that word on the help page, such as ``RUN``."""
    more: str = ""
    """Setting, a list of text, that further words without ``=`` give; they follow the `input`."""
    composed: type | None = None
    """Dataclass of the values that are checked at once, where `run` takes the composed configuration, as it builds
    objects from it; else `run` takes an instance of `settings`."""
    many: str = ""
    """Dotted name of a function for several inputs: it takes the settings of one, loads what all of them need, and
    returns a function from the settings of each to its `common.command.many.board.Figures`. Empty: one input only."""
    without: tuple[str, ...] = ()
    """Settings, or groups of them, that have no effect on this command: its help page leaves them out."""
    own_model: Callable[[str], list[str]] | None = None
    """Overrides that stand for a model of the user's own, given by its path; none where it is not such a path."""
    see: str = ""
    """Reference to further documentation."""
