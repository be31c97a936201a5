"""Validation of configurations into dataclasses, so that no code beyond a command's first line uses a DictConfig."""

from __future__ import annotations

import difflib
import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, to_json

from common.errors import ConfigurationError
from common.paths import shipped_folder, user_path

T = TypeVar("T")
Place = tuple[str | int, ...]

MISSING = "???"
"""OmegaConf's mark for a value that must be given."""

UserPath = Annotated[Path, AfterValidator(user_path)]
"""A path that a user gives; ``~`` stands for the home folder."""
GivenText = Annotated[str, Field(min_length=1)]
"""Text that must not be empty, such as the name of an output: an empty path is the current folder."""

_NEEDS_A_VALUE = "needs a value"
_RULES = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def to_dataclass(config: Any, cls: type[T], key: str = "") -> T:
    """Build `cls` from a DictConfig (or a mapping), interpolations resolved and every value checked.

    Values follow the strict rules of JSON: integers serve as floats, lists as tuples and strings as paths or enums,
    nothing else is converted, and numbers are finite. All faults are reported at once.

    Args:
        config: plain values, or an instance of `cls`, which is returned as it is.
        cls: a dataclass, or any type that pydantic can check, such as ``dict[str, float]``.
        key: path of `config` in the whole configuration, for messages.

    Raises:
        ConfigurationError: one line per fault, with the key's path and what was expected.
    """
    if is_dataclass(cls) and isinstance(config, cls):
        return config
    try:
        plain = _plain(config)
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"configuration: {str(error).splitlines()[0]}") from None
    kind: Any = cls
    faults: dict[Place, str] = {}
    root: Place = (key,) if key else ()
    plain = _without_holes(plain, root, faults)
    try:
        values = _adapter(kind).validate_json(to_json([plain], inf_nan_mode="null"))
    except ValidationError as error:
        for place, text in _explain(error.errors(include_url=False), [plain], cls):
            faults.setdefault((*root, *place), text)
    except PydanticSerializationError as error:
        raise ConfigurationError(f"{key or 'configuration'}: expected plain values ({error})") from None
    if faults:
        lines = [f"{key_path(place) or _name(cls)}: {text}" for place, text in faults.items()]
        lines = [
            line + f", give {line.partition(':')[0]}=..." if line.endswith(_NEEDS_A_VALUE) else line for line in lines
        ]
        raise ConfigurationError("configuration:\n  " + "\n  ".join(lines))
    return values[0]


def check_finite(config: Any) -> None:
    """Check the numbers of a configuration that no dataclass describes, such as the arguments of a trainer.

    Raises:
        ConfigurationError: some are NaN or infinite; one line per key.
    """
    faults: dict[Place, str] = {}
    _without_holes(_plain(config), (), faults)
    faults = {place: text for place, text in faults.items() if text != _NEEDS_A_VALUE}
    if faults:
        lines = [f"{key_path(place)}: {text}" for place, text in faults.items()]
        raise ConfigurationError("configuration:\n  " + "\n  ".join(lines))


def _plain(value: Any) -> Any:
    """A value without OmegaConf's containers, which Hydra leaves inside the mappings that it hands to constructors."""
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if type(value) in (list, tuple) else value


def call_target(target: Callable[..., T], arguments: Mapping[str, Any], key: str) -> T:
    """Call a class or function of a configuration (its ``_target_``) with arguments checked against its signature.

    Args:
        target: with a type hint for every parameter.
        arguments: plain values by name.
        key: their path in the whole configuration, for messages.

    Raises:
        ConfigurationError: see `to_dataclass`; also if `target` itself rejects them with a `ValueError`.
    """
    given: Any = to_dataclass(dict(arguments), signature_dataclass(target), key)
    try:
        return target(**vars(given))
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"{key}: {error}") from error


@cache
def signature_dataclass(target: Any) -> type:
    """A dataclass with the parameters of a class or function: their types, and their defaults where they have any."""
    function: Any = target
    hints = get_type_hints(function.__init__ if isinstance(target, type) else function)
    described = [
        (
            name,
            hints.get(name, Any),
            field() if parameter.default is parameter.empty else field(default=parameter.default),
        )
        for name, parameter in inspect.signature(target).parameters.items()
    ]
    return make_dataclass(getattr(target, "__name__", "Arguments"), described)


def config_folder() -> Path:
    """The folder of the Hydra configuration files."""
    folder = shipped_folder() / "configs"
    if not folder.is_dir():
        raise FileNotFoundError(f"no configuration folder at {folder}: the installation is damaged, repeat it")
    return folder


def load_yaml(file: Path) -> DictConfig:
    """Read a configuration file by itself, without what its defaults list would add."""
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig)
    config.pop("defaults", None)
    return config


def changed_values(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Compare nested plain values: a phrase such as ``model.name 'a' became 'b'`` for each key that differs."""
    before, after = _leaves(old), _leaves(new)
    keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    return [f"{key} {before.get(key)!r} became {after.get(key)!r}" for key in keys]


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted keys."""
    if not isinstance(value, Mapping):
        return {path: value}
    inner = (_leaves(item, f"{path}.{key}" if path else str(key)) for key, item in value.items())
    return {key: leaf for leaves in inner for key, leaf in leaves.items()}


def key_path(place: Iterable[str | int]) -> str:
    """A place in a configuration as users write it: ``sources.0.path`` is ``sources[0].path``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


@cache
def _adapter(cls: Any) -> TypeAdapter:
    """pydantic's check of one `cls` in a list: a list takes the rules, which plain dataclasses then inherit."""
    return TypeAdapter(list[cls], config=_RULES)


def _without_holes(value: Any, place: Place, faults: dict[Place, str]) -> Any:
    """The values without those that are still to be given (``???``), which are faults, and so are infinities."""
    if isinstance(value, Mapping):
        given = {key: _without_holes(item, (*place, key), faults) for key, item in value.items()}
        return {key: item for key, item in given.items() if item is not MISSING}
    if isinstance(value, (list, tuple)):
        return [_without_holes(item, (*place, index), faults) for index, item in enumerate(value)]
    if isinstance(value, str) and value == MISSING:
        faults[place] = _NEEDS_A_VALUE
        return MISSING
    if isinstance(value, str) and (readable := value.encode("utf-8", "backslashreplace").decode()) != value:
        faults[place] = f"is no text: {readable}; rename the file or folder, whose name is not UTF-8"
        return readable
    if isinstance(value, float) and not math.isfinite(value):
        faults[place] = f"expected a finite number, got {value}"
    return value


def _explain(errors: list[ErrorDetails], value: Any, cls: Any) -> Iterable[tuple[Place, str]]:
    """(place, what is wrong) of pydantic's errors; those about one value of a union become one."""
    expected: dict[Place, list[str]] = {}
    got: dict[Place, Any] = {}
    for error in errors:
        place = _place(error, value)
        kind, text = error["type"], error["msg"].removeprefix("Input should be ")
        if kind == "missing" and isinstance(place[-1], int):  # of a tuple
            yield place[:-1], f"needs at least {place[-1] + 1} values, got {place[-1]}: {error['input']}"
        elif kind == "missing":
            yield place, _NEEDS_A_VALUE
        elif kind == "too_long":
            most, actual = error["ctx"]["max_length"], error["ctx"]["actual_length"]
            yield place, f"needs {most} values, got {actual}: {error['input']}"
        elif kind == "unexpected_keyword_argument":
            yield place, _unknown(str(place[-1]), _type_at(cls, place[:-1]))
        elif kind == "value_error":  # from the class's own __post_init__
            yield place, str(error["ctx"]["error"])
        else:
            name = error.get("ctx", {}).get("class_name")
            expected.setdefault(place, []).append(f"settings ({name})" if name else text)
            got[place] = error["input"]
    for place, texts in expected.items():
        shown = "nothing (null)" if got[place] is None else repr(got[place])
        yield place, f"expected {' or '.join(dict.fromkeys(texts))}, got {shown}"


def _place(error: ErrorDetails, value: Any) -> Place:
    """Keys and indices of pydantic's location, without the members of unions that it names between them."""
    location, place = list(error["loc"]), list[str | int]()
    if error["type"] in ("missing", "unexpected_keyword_argument"):  # the last part is not in the value, or too much
        *location, last = location
    else:
        last = None
    for part in location:
        inside = isinstance(value, Mapping) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            place.append(part)
            value = value[part]
    return tuple(place[1:] if last is None else [*place[1:], last])  # without the index in the list of one


def _type_at(kind: Any, place: Place) -> Any:
    """The dataclass at a place, or None where there is none."""
    for part in place:
        kind = next((_inside(member, part) for member in _members(kind) if _inside(member, part) is not None), None)
    return next((member for member in _members(kind) if is_dataclass(member)), None)


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _inside(kind: Any, part: str | int) -> Any:
    if is_dataclass(kind):
        return get_type_hints(kind).get(str(part))
    arguments = get_args(kind)
    return (arguments[0] if isinstance(part, int) else arguments[-1]) if arguments else None


def _unknown(key: str, cls: Any) -> str:
    known = [known.name for known in fields(cls) if known.init] if cls else []
    close = difflib.get_close_matches(key, known, n=1)
    return "unknown key, " + (f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'nothing'}")


def _name(cls: Any) -> str:
    return getattr(cls, "__name__", str(cls))
