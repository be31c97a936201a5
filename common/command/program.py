"""Programs with several commands: ``slam3r reconstruct ...`` finds the command by its name and launches it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from common.command.line.outcome import stop


@dataclass(frozen=True)
class Entry:
    """A command of a program."""

    place: str
    """Dotted name of its `common.command.verb.Verb`, or of a function that takes its arguments and returns the exit
    status; imported when the command is chosen."""
    line: str
    """Purpose, in a line."""


def run_program(name: str, entries: Mapping[str, Entry], arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names with the others.

    Args:
        name: of the program.
        entries: its commands by name.
        arguments: those of the command line; None for those of this process.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview(name, entries))
        return
    if words[0] in ("--version", "version"):
        sys.stdout.write(f"{name} {_version()}\n")
        return
    first, *rest = words
    if first not in entries:
        close = difflib.get_close_matches(first, entries, n=1)
        hint = f"did you mean {name} {close[0]}?" if close else f"there are: {', '.join(entries)}"
        stop(f"{name} has no command {first!r}; {hint}")
    module, _, attribute = entries[first].place.rpartition(".")
    command = getattr(import_module(module), attribute)
    if callable(command):
        sys.exit(command(rest))
    import_module("common.command.launch").launch(command, rest)  # by name: an overview waits for nothing


def overview(name: str, entries: Mapping[str, Entry]) -> str:
    """The help page of a program: its commands, a line each."""
    width = max(map(len, entries))
    lines = [f"{name} COMMAND [INPUT] [-o OUTPUT] [key=value ...]", ""]
    lines += [f"  {command:<{width}}  {entry.line}" for command, entry in entries.items()]
    lines += ["", f"Settings of a command: {name} COMMAND --help. Version: {name} --version"]
    return "\n".join(lines) + "\n"


def _version() -> str:
    """Version of the installed package, and the commit of a checkout."""
    revision = import_module("common.revision").code_revision()
    return " ".join(filter(None, (revision["version"] or "unknown version", revision["commit"])))
