"""Settings dataclasses as a flat list: key, type, default, and the sentence that explains each."""

from __future__ import annotations

import ast
import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING as NOTHING
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from common.command.registry import field_default, plain
from common.configuration import MISSING


@dataclass(frozen=True)
class Setting:
    """One setting that a user can change."""

    key: str
    """Its path, such as ``run.device``."""
    kind: Any
    """Its type hint."""
    default: Any
    """Plain value; ``???`` where the user must give one."""
    sentence: str
    """Explanation of the setting."""
    group: str | None = None
    """Configuration group whose files fill it."""

    @property
    def is_text(self) -> bool:
        """Whether a value that a user writes is text, to be taken literally."""
        return is_text(self.kind)


def is_text(kind: Any) -> bool:
    """Whether a type takes free text or a path, perhaps besides None: ``str``, ``Path``, ``str | None``."""
    members = [member for member in _members(kind) if member is not type(None)]
    return bool(members) and all(isinstance(member, type) and issubclass(member, (str, Path)) for member in members)


def _members(kind: Any) -> tuple[Any, ...]:
    """Members of a union, or the type itself, without annotations."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return tuple(get_args(member)[0] if get_origin(member) is Annotated else member for member in kinds)


def settings_of(cls: type, prefix: str = "") -> Iterator[Setting]:
    """Settings of a dataclass and of those inside it, in their order; ungrouped ones before the nested."""
    hints, sentences = get_type_hints(cls, include_extras=False), field_sentences(cls)
    nested: list[tuple[str, Any]] = []
    for field in fields(cls):
        if not field.init or "set_by" in field.metadata:
            continue
        key, kind = f"{prefix}{field.name}", hints[field.name]
        inner = next((member for member in (kind, *get_args(kind)) if is_dataclass(member)), None)
        group, default = field.metadata.get("group"), field_default(field)
        if inner is not None and get_origin(kind) is None:
            nested.append((key, inner))
        if inner is None or group or get_origin(kind) is not None:
            value = MISSING if default is NOTHING else plain(default)
            yield Setting(key, kind, value, sentences.get(field.name, ""), group)
    for key, inner in nested:
        yield from settings_of(inner, f"{key}.")


def target_settings(target: type, prefix: str) -> Iterator[Setting]:
    """Settings that a class of a configuration group takes: its constructor's, explained by its ``Args:`` section."""
    function: Any = target
    hints, sentences = get_type_hints(function.__init__), _argument_sentences(target)
    for name, parameter in inspect.signature(target).parameters.items():
        default = MISSING if parameter.default is parameter.empty else plain(parameter.default)
        yield Setting(f"{prefix}{name}", hints.get(name, Any), default, sentences.get(name, ""))


@cache
def field_sentences(cls: type) -> dict[str, str]:
    """Field -> the docstring below it, of a dataclass and of its parents."""
    sentences: dict[str, str] = {}
    for parent in reversed(cls.__mro__):
        if is_dataclass(parent):
            sentences |= _documented_fields(parent)
    return sentences


def type_name(kind: Any) -> str:
    """A type as the help page shows it: ``int``, ``text or null``, ``auto | none``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys("null" if a is type(None) else type_name(a) for a in arguments))
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (tuple, list) and arguments:
        if origin is list or arguments[-1] is Ellipsis:
            return f"[{type_name(arguments[0])}, ...]"
        return f"[{', '.join(map(type_name, arguments))}]"
    if is_text(kind):
        return "text"
    names: dict[Any, str] = {int: "int", float: "number", bool: "true | false"}
    return names.get(kind, "settings" if origin is dict or kind is Any or is_dataclass(kind) else str(kind))


def _documented_fields(cls: type) -> dict[str, str]:
    found = ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls))).body[0]
    assert isinstance(found, ast.ClassDef)
    sentences = {}
    for node, after in zip(found.body, found.body[1:]):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr)):
            continue
        if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            sentences[node.target.id] = " ".join(after.value.value.split())
    return sentences


def _argument_sentences(target: type) -> dict[str, str]:
    """Argument -> its text in the ``Args:`` section of a class and of its parents (which may document the rest)."""
    sentences: dict[str, str] = {}
    for parent in reversed(target.__mro__):
        _, _, section = (inspect.cleandoc(parent.__doc__ or "")).partition("Args:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section.split("\n\n")[0], re.M):
            sentences[name] = " ".join(text.split())
    return sentences
