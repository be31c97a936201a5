"""Which run a checkpoint belongs to: what must be the same for one run to go on where another stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_PARTS = ("seed", "model", "data", "objective")
"""Of the configuration. Trainer, callbacks, threads and places may change in mid-run; they change no step's meaning."""
_FREE = {"num_workers", "prefetch_factor", "pin_memory", "root", "path", "cache", "weights", "initial_weights"}
"""Names of entries that say how fast or from where, not what."""
_NAMED = 3


def identity_of(configuration: str | Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run the run it is: the leaves of a resolved configuration (YAML or a mapping) by dotted name."""
    values = yaml.safe_load(configuration) if isinstance(configuration, str) else configuration
    leaves: dict[str, Any] = {}
    for part in _PARTS:
        if isinstance(values, Mapping) and part in values:
            _collect(part, values[part], leaves)
    return leaves


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How two identities differ, for a message; empty if they do not."""
    nothing = object()
    names = [name for name in {**before, **now} if before.get(name, nothing) != now.get(name, nothing)]
    shown = [f"{name} is {now.get(name, 'absent')}, was {before.get(name, 'absent')}" for name in names[:_NAMED]]
    return "; ".join(shown) + (f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _collect(name: str, value: Any, leaves: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _FREE:
                _collect(f"{name}.{key}", item, leaves)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _collect(f"{name}[{number}]", item, leaves)
    else:
        leaves[name] = value
