"""Identity of a training run: the settings that must be equal to resume from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_PARTS = ("seed", "model", "data", "objective")
"""Parts of the configuration that count. Trainer, callbacks, threads and paths may change between resumes."""
_FREE = {"num_workers", "prefetch_factor", "pin_memory", "root", "path", "cache", "weights", "initial_weights"}
"""Keys that may differ: they affect speed or location only."""
_NAMED = 3


def identity_of(configuration: str | Mapping[str, Any]) -> dict[str, Any]:
    """Settings that identify a run: leaves of a resolved configuration (YAML or a mapping) by dotted name."""
    values = yaml.safe_load(configuration) if isinstance(configuration, str) else configuration
    leaves: dict[str, Any] = {}
    for part in _PARTS:
        if isinstance(values, Mapping) and part in values:
            _collect(part, values[part], leaves)
    return leaves


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Differences of two identities, for a message; empty if they are equal."""
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
