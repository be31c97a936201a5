"""Settings dataclasses as Hydra configurations: a default stands in its dataclass, and YAML files say what differs.

A YAML file takes the defaults of a registered dataclass by the first line of its own defaults list, for example
``- /settings/export@_here_``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import MISSING as NOTHING
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore

from common.configuration import MISSING

GROUP = "settings"


def register(name: str, cls: type, falls_back_on: str | None = None) -> None:
    """Make the defaults of a settings dataclass available as ``/settings/<name>``.

    Args:
        name: in YAML defaults lists; may contain slashes.
        cls: the dataclass.
        falls_back_on: key of a mapping whose values take the place of the defaults where it has them.
    """
    folder, _, last = name.rpartition("/")
    node = defaults_of(cls, falls_back_on)
    ConfigStore.instance().store(group=f"{GROUP}/{folder}".rstrip("/"), name=last, node=node)


def register_target(group: str, name: str, target: Any) -> None:
    """Make a class an option of a configuration group: its ``_target_`` with the defaults of its constructor."""
    node = {"_target_": f"{target.__module__}.{target.__qualname__}", **arguments_of(target)}
    ConfigStore.instance().store(group=group, name=name, node=node)


def arguments_of(target: Any) -> dict[str, Any]:
    """The arguments of a class or function with their defaults as plain values; ``???`` for what must be given."""
    named = [
        p for p in inspect.signature(target).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    return {p.name: MISSING if p.default is p.empty else plain(p.default) for p in named}


def defaults_of(cls: type, falls_back_on: str | None = None) -> dict[str, Any]:
    """The defaults of a settings dataclass as plain values; ``???`` for what must be given.

    Fields with the metadata ``group`` are left out, as a file of that configuration group fills them, and so are those
    with ``set_by``, as another setting decides them.
    """
    hints = get_type_hints(cls)
    node: dict[str, Any] = {}
    for field in fields(cls):
        if not field.init or field.metadata.keys() & {"group", "set_by"}:
            continue
        value, kind = field_default(field), hints[field.name]
        if value is NOTHING and is_dataclass(kind):
            node[field.name] = defaults_of(kind)  # type: ignore[arg-type]
            continue
        node[field.name] = MISSING if value is NOTHING else plain(value)
        if falls_back_on and value is not NOTHING:
            node[field.name] = _fallback(value, f"{falls_back_on}.{field.name}")
    return node


def _fallback(value: Any, key: str) -> Any:
    """A default as what another key says, or else its value; field by field for a dataclass."""
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return {name: _fallback(item, f"{key}.{name}") for name, item in own.items()}
    return f"${{oc.select:{key},{json.dumps(plain(value))}}}"


def field_default(field: Field) -> Any:
    """The default of a dataclass field; `dataclasses.MISSING` for a field without one."""
    return field.default_factory() if field.default_factory is not NOTHING else field.default


def plain(value: Any) -> Any:
    """A default as YAML would hold it: dataclasses as mappings, tuples as lists, paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.init}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
