"""Description of a command: name, configuration, settings, and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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
    composed: bool = False
    """`run` takes the composed configuration, as it builds objects from it; else an instance of `settings`."""
    see: str = ""
    """Reference to further documentation."""
