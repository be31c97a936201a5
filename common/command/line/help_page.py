"""Help page of a command: summary, examples, and each setting with type and default."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from common.command.line.settings_tree import Setting, settings_of, target_settings, type_name
from common.command.systems import SYSTEMS
from common.command.verb import Verb
from common.configuration import MISSING, config_folder
from common.data.sources.recognition import EXPECTED, SOURCES

_WIDEST = 110


def help_page(verb: Verb) -> str:
    """The whole page as text, ending with a newline."""
    width = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
    lines = [_usage(verb), "", *textwrap.wrap(verb.summary, width)]
    if verb.input == "source":
        lines += ["", *textwrap.wrap(f"{verb.input_name} is {EXPECTED}.", width)]
    lines += ["", "Examples:"]
    lines += [f"  {example}" for example in verb.examples]
    shown = (setting for setting in _settings(verb) if not _is_without_effect(setting.key, verb))
    sections = groupby(shown, key=lambda setting: setting.key.rpartition(".")[0])
    for section, settings in sections:
        lines += ["", f"Settings {section}.*:" if section else "Settings:"]
        for setting in settings:
            lines += _entry(setting, width)
    rest = f"All settings are in configs/{verb.config}.yaml and the groups it names; {verb.see}".rstrip("; .")
    lines += ["", *textwrap.wrap(f"{rest}. Show them composed, without running: --cfg job", width)]
    return "\n".join(lines) + "\n"


def _usage(verb: Verb) -> str:
    """The forms of the command line: ``slam3r reconstruct INPUT [-o OUTPUT] [--model MODEL] [key=value ...]``."""
    options = {"output": "[-o OUTPUT]", "model": "[--model MODEL]"}
    shown = [text for key, text in options.items() if key in setting_keys(verb)]
    return " ".join([*filter(None, (verb.name, verb.input_name)), *shown, "[key=value ...]"])


def _is_without_effect(key: str, verb: Verb) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in verb.without)


@cache
def setting_keys(verb: Verb) -> frozenset[str]:
    """Keys of a command's settings and groups."""
    return frozenset(setting.key for setting in _settings(verb))


@cache
def text_keys(verb: Verb) -> frozenset[str]:
    """Keys of a command whose values are text, to be taken literally."""
    return frozenset(setting.key for setting in _settings(verb) if setting.is_text)


def _settings(verb: Verb) -> Iterator[Setting]:
    changed = dict(_flat(_primary(verb)))
    for setting in settings_of(verb.settings):
        if setting.key.startswith("model."):  # the model's file says these
            continue
        yield _with_default(setting, changed) if setting.group is None else _with_options(setting, verb)
    if any(setting.group == "source" for setting in settings_of(verb.settings)):
        yield from _source_settings()


def _source_settings() -> Iterator[Setting]:
    """Settings of all kinds of sources, each once, with the kinds that have it."""
    having: dict[str, list[str]] = {}
    found: dict[str, Setting] = {}
    for kind, source in SOURCES.items():
        for setting in target_settings(source, "source."):
            having.setdefault(setting.key, []).append(kind)
            found.setdefault(setting.key, setting)
    for key, setting in found.items():
        kinds = "" if len(having[key]) == len(SOURCES) else f" ({', '.join(having[key])})"
        yield Setting(key, setting.kind, setting.default, f"{setting.sentence.rstrip('.')}{kinds}.")


def _entry(setting: Setting, width: int) -> list[str]:
    default = "must be given" if setting.default == MISSING else f"default {_shown(setting.default)}"
    head = f"  {setting.key}=<{type_name(setting.kind)}>, {default}" if not setting.group else ""
    if setting.group:
        head = f"  {setting.key}=<{setting.default}>"
    return [*textwrap.wrap(head, width, subsequent_indent="      "), *_wrapped(setting.sentence, width)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text.replace("``", ""), width, initial_indent="      ", subsequent_indent="      ")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _primary(verb: Verb) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(config_folder() / f"{verb.config}.yaml"), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _with_default(setting: Setting, changed: Mapping[str, Any]) -> Setting:
    """The setting with the default of the primary file, where it says another one."""
    return Setting(setting.key, setting.kind, changed.get(setting.key, setting.default), setting.sentence)


def _with_options(setting: Setting, verb: Verb) -> Setting:
    """The setting of a configuration group with its options in place of a default, the chosen one first."""
    files = {file.stem for file in (config_folder() / str(setting.group)).glob("*.yaml")}
    stored = ConfigStore.instance().repo.get(str(setting.group), {})
    options = files | {str(name).removesuffix(".yaml") for name in stored}
    usual = [override.partition("=")[2] for override in verb.usual if override.startswith(f"{setting.key}=")]
    stated = [entry[setting.key] for entry in _primary(verb).get("defaults", []) if setting.key in entry]
    chosen = [*usual, *(option for option in stated if not usual)]
    program = verb.name.split()[0]
    own = program if setting.group == "model" and program in SYSTEMS else ""
    shown = sorted(option for option in options if not option.startswith("_") and option.startswith(own))
    first = [str(option) for option in chosen if option not in (MISSING, None) and str(option).startswith(own)]
    listed = " | ".join([*first, *(option for option in shown if option not in first)])
    return Setting(setting.key, setting.kind, listed, setting.sentence, setting.group)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" != "defaults":
            yield f"{prefix}{key}", value
