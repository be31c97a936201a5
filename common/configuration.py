"""OmegaConf to dataclasses at the door: past `main` nobody sees a DictConfig."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.errors import ConfigurationError

T = TypeVar("T")

_MISSING_TEXT = "???"  # OmegaConf's mark for a value that must be given


def to_dataclass(config: Any, cls: type[T]) -> T:
    """Build the dataclass `cls` from a DictConfig (or a mapping), interpolations resolved and every value checked.

    Understands nested dataclasses, `Optional`/unions, `tuple`, `list`, `dict`, `Literal`, `Enum` (by name or value),
    `Path` and `Any`; integers serve as floats, nothing else is converted. All faults are reported at once.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"configuration: {str(error).splitlines()[0]}") from None
    faults: list[str] = []
    value = _convert(plain, cls, "", faults)
    if faults:
        raise ConfigurationError("configuration:\n  " + "\n  ".join(faults))
    return value


def config_folder() -> Path:
    """The folder of the Hydra configuration files, beside the packages in the checkout."""
    folder = Path(__file__).resolve().parents[1] / "configs"
    if not folder.is_dir():
        raise FileNotFoundError(f"no configuration folder at {folder}: install from a checkout with `pip install -e .`")
    return folder


def _convert(value: Any, kind: Any, path: str, faults: list[str]) -> Any:
    """`value` as `kind`; what does not fit is noted in `faults` under `path` and comes back as None."""
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _convert_dataclass(value, kind, path, faults)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(value, kind, path, faults)
    if origin is Literal:
        return value if value in get_args(kind) else _fault(value, kind, path, faults)
    if (origin or kind) in (list, tuple, Sequence):
        return _convert_sequence(value, kind, path, faults)
    if (origin or kind) in (dict, Mapping):
        return _convert_mapping(value, kind, path, faults)
    return _convert_scalar(value, kind, path, faults)


def _convert_dataclass(value: Any, cls: Any, path: str, faults: list[str]) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        return _fault(value, cls, path, faults)
    known = {field.name: field for field in fields(cls) if field.init}
    faults += [_unknown(key, known, path) for key in value if key not in known]
    hints = get_type_hints(cls)
    arguments = {}
    before = len(faults)
    for name, field in known.items():
        full = f"{path}.{name}" if path else name
        if name in value and value[name] != _MISSING_TEXT:
            arguments[name] = _convert(value[name], hints[name], full, faults)
        elif name in value or not _has_default(field):
            faults.append(f"{full}: needs a value, give {full}=...")
    if len(faults) > before:
        return None
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:  # from the class's own __post_init__
        faults.append(f"{path or cls.__name__}: {error}")
        return None


def _convert_union(value: Any, kind: Any, path: str, faults: list[str]) -> Any:
    choices = get_args(kind)
    if value is None and type(None) in choices:
        return None
    attempts: list[list[str]] = []
    for choice in (choice for choice in choices if choice is not type(None)):
        attempt: list[str] = []
        converted = _convert(value, choice, path, attempt)
        if not attempt:
            return converted
        attempts.append(attempt)
    if len(attempts) == 1:  # an optional: what is wrong inside says more than "expected X or None"
        faults += attempts[0]
        return None
    return _fault(value, kind, path, faults)


def _convert_sequence(value: Any, kind: Any, path: str, faults: list[str]) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return _fault(value, kind, path, faults)
    builder = tuple if (get_origin(kind) or kind) is tuple else list
    kinds = get_args(kind)
    if not kinds:
        return builder(value)
    if builder is tuple and kinds[-1] is not Ellipsis:
        if len(value) != len(kinds):
            faults.append(f"{path}: needs {len(kinds)} values, got {len(value)}: {list(value)}")
            return None
    else:
        kinds = (kinds[0],) * len(value)
    items = zip(value, kinds, strict=True)
    return builder(_convert(item, kind, f"{path}[{index}]", faults) for index, (item, kind) in enumerate(items))


def _convert_mapping(value: Any, kind: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(value, Mapping):
        return _fault(value, kind, path, faults)
    key_kind, item_kind = get_args(kind) or (Any, Any)
    return {
        _convert(key, key_kind, f"{path}.{key}", faults): _convert(item, item_kind, f"{path}.{key}", faults)
        for key, item in value.items()
    }


def _convert_scalar(value: Any, kind: Any, path: str, faults: list[str]) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        matches = [member for member in kind if isinstance(value, kind) and value is member]
        matches += [member for member in kind if value in (member.name, member.value)]
        return matches[0] if matches else _fault(value, kind, path, faults)
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wrong_bool = isinstance(value, bool) and kind in (int, float)  # Python's bool is an int, a configuration's is not
    if isinstance(kind, type) and isinstance(value, kind) and not wrong_bool:
        return value
    return _fault(value, kind, path, faults)


def _fault(value: Any, kind: Any, path: str, faults: list[str]) -> None:
    shown = "nothing (null)" if value is None else repr(value)
    if value == _MISSING_TEXT:
        faults.append(f"{path}: needs a value, give {path}=...")
    else:
        faults.append(f"{path or 'configuration'}: expected {_describe(kind)}, got {shown}")


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join("null" if choice is type(None) else _describe(choice) for choice in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(member.name for member in kind)
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def _unknown(key: Any, known: Mapping[str, Field], path: str) -> str:
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'nothing'}"
    return f"{path}.{key}: unknown key, {hint}" if path else f"{key}: unknown key, {hint}"


def _has_default(field: Field) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING
