"""Map from the published names of a family of checkpoints to ours, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class KeyMap:
    """Rules that rename the tensors of one family of checkpoints."""

    name: str
    prefixes: tuple[tuple[str, str], ...]
    """(published, ours) at the start of a name."""
    parts: tuple[tuple[str, str], ...]
    """(published, ours) anywhere in a name, applied one after the other once the prefix is changed."""
    left_out: tuple[str, ...] = ()
    """Regular expressions of published names that have no place in our model, with the reason beside them."""
    copies: tuple[tuple[str, str], ...] = ()
    """(published prefix, published prefix): tensors that also serve under a second name where that is absent."""
    fresh: tuple[str, ...] = ()
    """Prefixes of our names that this family does not hold: they keep their initialization."""
    patterns: tuple[tuple[str, str], ...] = ()
    """(regular expression, replacement) at the start of a published name, applied before all else."""

    def rename(self, key: str) -> str | None:
        """Our name of a published key; None if it is left out on purpose. Unknown names come back unchanged."""
        if any(re.match(pattern, key) for pattern in self.left_out):
            return None
        for pattern, replacement in self.patterns:
            key = re.sub(rf"^(?:{pattern})", replacement, key)
        for theirs, ours in self.prefixes:
            if key.startswith(theirs):
                key = ours + key[len(theirs) :]
                break
        for theirs, ours in self.parts:
            key = key.replace(theirs, ours)
        return key

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename a published state dict."""
        expanded = dict(state)
        for source, target in self.copies:
            if not any(key.startswith(target) for key in state):
                for key, value in state.items():
                    if key.startswith(source):
                        expanded[target + key[len(source) :]] = value
        renamed = ((self.rename(key), value) for key, value in expanded.items())
        return {key: value for key, value in renamed if key is not None}
