"""The command line of a command: ``photos/ -o out --model slam3r_large key=value`` to overrides of settings.

Words without ``=`` are the input, ``-o`` and ``--model`` are short for settings, and everything else is Hydra's.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from common.command.line.overrides import OVERRIDE, is_meant_for_hydra, literal, literal_overrides
from common.command.verb import SHORT, Verb
from common.configuration import config_folder
from common.data.sources.recognition import (
    EXPECTED,
    MAIN_ARGUMENT,
    SOURCES,
    Recognized,
    recognize,
    recognize_several,
)
from common.errors import ConfigurationError

_HYDRA_FLAGS = frozenset({"--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m", "--info", "-i"})
_HYDRA_OPTIONS = frozenset(
    {"--cfg", "-c", "--package", "-p", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn"}
    | {"--config-dir", "-cd", "--experimental-rerun"}
)
"""Options of Hydra that take a value."""


@dataclass
class _Words:
    """The arguments, sorted."""

    inputs: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    hydra: list[str] = field(default_factory=list)

    def value_of(self, key: str) -> str | None:
        """Text that the user gave to a setting, the last time."""
        given = [override.partition("=")[2] for override in self.overrides if override.startswith(f"{key}=")]
        return given[-1] if given else None


def read_arguments(verb: Verb, arguments: Sequence[str], keys: Collection[str], texts: Collection[str]) -> list[str]:
    """Translate the words of a command line to arguments that Hydra reads.

    Args:
        verb: the command.
        arguments: the words.
        keys: settings of the command.
        texts: those that take text, which is taken literally.

    Raises:
        ConfigurationError: an unknown option, or a value that cannot be read.
        InputError: the input does not exist.
    """
    words = _sorted(arguments, keys)
    if words.hydra and words.hydra[0] in ("--info", "-i", "--hydra-help"):  # show what Hydra knows, need no input
        return words.hydra
    given = literal_overrides(_with_own_model(verb, words.overrides), texts.__contains__)
    entered = _input_overrides(verb, words)
    chosen = {override.partition("=")[0] for override in (*entered, *words.overrides)}
    usual = [override for override in verb.usual if override.partition("=")[0] not in chosen]
    return [*words.hydra, *verb.fixed, *usual, *entered, *given]


def read_many(
    verb: Verb, arguments: Sequence[str], keys: Collection[str], texts: Collection[str]
) -> dict[str, list[str]]:
    """Translate a command line with several inputs, each a scene of its own.

    Returns:
        Input -> its arguments for Hydra, as `read_arguments` makes them; nothing where the command takes one input
        only, or is given one.

    Raises:
        ConfigurationError, InputError: as `read_arguments`; also for a stream among several inputs.
    """
    words = _sorted(arguments, keys) if verb.many else _Words()
    scenes = recognize_several(words.inputs) if words.value_of("source") is None else []
    if not scenes:
        return {}
    if words.hydra:
        raise ConfigurationError(f"{words.hydra[0]}: not with several inputs, which many.workers share")
    return {scene: read_arguments(verb, [*words.overrides, "--", scene], keys, texts) for scene in scenes}


def _sorted(arguments: Sequence[str], keys: Collection[str]) -> _Words:
    words = _Words()
    rest = iter(arguments)
    for argument in rest:
        option, has_value, value = argument.partition("=")
        if argument == "--":
            words.inputs += rest
        elif option in SHORT:
            key, value = _known(SHORT[option], option, keys), value if has_value else _next(rest, option)
            words.overrides.append(f"{key}={value if key == 'model' else literal(value)}")
        elif option in _HYDRA_FLAGS:
            words.hydra.append(argument)
        elif option in _HYDRA_OPTIONS:
            words.hydra += [argument] if has_value else [argument, _next(rest, option)]
        elif argument.startswith("-") and not _is_path(argument):
            raise ConfigurationError(_unknown_option(option, keys))
        elif _is_override(argument, keys):
            words.overrides.append(argument)
        else:
            words.inputs.append(argument)
    return words


def _is_override(argument: str, keys: Collection[str]) -> bool:
    """Whether a word sets something; one with ``=`` may be the name of a file as well."""
    match = OVERRIDE.fullmatch(argument)
    if match is None:
        return argument.startswith("~") and "/" not in argument and not _is_path(argument)
    key = match["key"].lstrip("+~")
    return not _is_path(argument) or any(key == known or known.startswith(f"{key}.") for known in keys)


def _is_path(argument: str) -> bool:
    """Whether a word that looks like an option or a setting names what exists, or a pattern of files in a folder."""
    folder = os.path.dirname(argument)
    return os.path.lexists(argument) or (("=" in folder or folder.startswith("-")) and os.path.isdir(folder))


def _next(rest: Iterator[str], option: str) -> str:
    value = next(rest, None)
    if value is None:
        raise ConfigurationError(f"{option} needs a value")
    return value


def _known(key: str, option: str, keys: Collection[str]) -> str:
    if key not in keys:
        raise ConfigurationError(f"this command has no {option}")
    return key


def _unknown_option(option: str, keys: Iterable[str]) -> str:
    """Sentence for an option that there is not, with the setting that is called so or nearly so."""
    wanted = option.lstrip("-").replace("-", "_")
    last = {key.rpartition(".")[2]: key for key in keys}
    close = [wanted] if wanted in keys else difflib.get_close_matches(wanted, [*keys, *last], n=1)
    hint = f"; did you mean {last.get(close[0], close[0])}=...?" if close else ""
    return f"no option {option}: settings are written key=value{hint}"


def _with_own_model(verb: Verb, overrides: Sequence[str]) -> Iterator[str]:
    """The overrides, with those that stand for a model's path in its place; the name of a known model is no path."""
    for override in overrides:
        key, _, value = override.partition("=")
        if key != "model" or verb.own_model is None or (config_folder() / "model" / f"{value}.yaml").is_file():
            yield override
        else:
            yield from verb.own_model(value) or [override]


def _input_overrides(verb: Verb, words: _Words) -> list[str]:
    """Overrides for the words that are the input."""
    if verb.input == "source":
        return _source_overrides(words, verb)
    if not words.inputs:
        return []
    if not verb.input or (len(words.inputs) > 1 and not verb.more):
        extra = words.inputs[-1]
        raise ConfigurationError(f"expected key=value, got {extra!r}")
    if len(words.inputs) > 1:
        first, *others = words.inputs
        return [f"{verb.input}={literal(first)}", f"{verb.more}={_written(others)}"]
    if verb.input in ("benchmark", "experiment"):  # a file of that group
        return [f"{verb.input}={words.inputs[0]}"]
    return [f"{verb.input}={literal(words.inputs[0])}"]


def _source_overrides(words: _Words, verb: Verb) -> list[str]:
    """Kind and place of the source: recognized, unless the user says the kind."""
    kind = words.value_of("source")
    if words.inputs:
        if len(words.inputs) > 1 and os.path.exists(together := " ".join(words.inputs)):
            raise ConfigurationError(f"several inputs; a name with blanks needs quotation marks: '{together}'")
        found = _as_kind(kind, words.inputs) if kind in SOURCES else recognize(words.inputs)
        return [f"source={found.kind}", f"source.{found.argument}={_written(found.value)}"]
    if kind is not None:
        return []
    for other, argument in MAIN_ARGUMENT.items():
        if words.value_of(f"source.{argument}") is not None:
            return [f"source={other}"]
    path = words.value_of("source.path")
    if path is None or path == "null":
        raise ConfigurationError(f"no input: give {EXPECTED}; for example {verb.examples[0]}")
    if "${" in path and is_meant_for_hydra(path):
        raise ConfigurationError("source.path refers to another setting: give source=folder, or another kind, as well")
    return [f"source={recognize([path[1:-1] if is_meant_for_hydra(path) else path]).kind}"]


def _as_kind(kind: str | None, inputs: Sequence[str]) -> Recognized:
    """The input as the source of a given kind."""
    if kind != "files" and len(inputs) > 1:
        raise ConfigurationError(f"source={kind} takes one input, got {len(inputs)}")
    return Recognized(str(kind), list(inputs) if kind == "files" else inputs[0])


def _written(value: str | Sequence[str]) -> str:
    """Text, or a list of texts, in Hydra's grammar."""
    if isinstance(value, str):
        return literal(value)
    return "[" + ",".join(literal(item) for item in value) + "]"
