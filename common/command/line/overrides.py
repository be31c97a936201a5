"""Command-line overrides with literal text and paths, whatever characters they contain.

Hydra reads values by a grammar of its own, in which a blank, a bracket, ``=`` or ``~`` has a meaning and ``2024_05_01``
is a number. Here values of text settings are quoted so that Hydra reads them literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from common.errors import ConfigurationError

OVERRIDE = re.compile(r"(?P<key>(\+\+?|~)?[A-Za-z_][\w./@:-]*)=(?P<value>.*)", re.S)
"""A word that sets something; its value may be anything."""
_PATH_KEYS = frozenset({"path", "root", "output", "folder", "raw", "pattern", "teacher_source", "file"})
"""Last parts of keys that hold a path wherever they occur."""


def literal_overrides(arguments: Iterable[str], is_text: Callable[[str], bool]) -> list[str]:
    """Quote overrides so that Hydra reads text literally.

    Args:
        arguments: command-line arguments such as ``source.path=my photos``.
        is_text: whether the setting of a key takes text.

    Raises:
        ConfigurationError: an argument is not an override, or its value cannot be parsed.
    """
    return [argument if argument.startswith("-") else _literal(argument, is_text) for argument in arguments]


def literal(text: str) -> str:
    """Text that Hydra reads as it stands, whatever it contains: in quotation marks, and without references."""
    text = "./???" if text == "???" else text  # alone, OmegaConf's mark for what is missing
    return quoted(re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + "\\${", text))


def quoted(text: str) -> str:
    """Text in quotation marks for Hydra: a backslash counts only before a quotation mark, where it is doubled."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def _literal(argument: str, is_text: Callable[[str], bool]) -> str:
    match = OVERRIDE.fullmatch(argument)
    if match is None:
        if argument.startswith("~") or _is_understood(argument):
            return argument
        raise ConfigurationError(f"expected key=value, got {argument!r}")
    key, value = match["key"], match["value"]
    name = key.lstrip("+~")
    if (is_text(name) or name.rpartition(".")[2] in _PATH_KEYS) and not is_meant_for_hydra(value):
        return f"{key}={literal(value)}"
    if _is_understood(argument):
        return argument
    if _is_understood(f"{key}={quoted(value)}") and not re.match(r"[\[{]", value):
        return f"{key}={quoted(value)}"
    raise ConfigurationError(f"{key}: cannot read {value!r}; lists are [a,b], mappings {{a: 1}}, text is quoted")


def is_meant_for_hydra(value: str) -> bool:
    """Nothing, a reference to another setting, or what is quoted already; unless a file is called that."""
    if value in ("", "null", "???"):
        return value != ""
    is_reference = "${" in value and not ("${" in str(Path(value).parent) and Path(value).parent.exists())
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return (is_reference or is_quoted) and not Path(value).exists()


def _is_understood(argument: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([argument])
    except OverrideParseException:
        return False
    return True
