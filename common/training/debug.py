"""``debug=true``: any experiment, two steps long, on procedural data, with a miniature network and no download."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf


def debug_configuration(config: DictConfig) -> DictConfig:
    """Merge the entries under ``when_debug`` into the configuration.

    Mappings are merged key by key, except those with a ``_target_``: such a description of an object replaces the
    previous one, so that none of its arguments remain.
    """
    result = copy.deepcopy(config)
    OmegaConf.set_struct(result, False)
    changes = OmegaConf.to_container(config.when_debug, resolve=False)
    assert isinstance(changes, dict)
    _lay_over(result, changes)
    return result


def _lay_over(target: DictConfig, changes: Mapping[Any, Any]) -> None:
    for key, change in changes.items():
        is_part = isinstance(change, Mapping) and "_target_" not in change
        if is_part and OmegaConf.is_dict(target.get(key)):
            _lay_over(target[key], change)
        else:
            target[key] = change
