"""Names of pictures from two places, told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import PurePosixPath


def prefix_of_new(old: Iterable[str], new: Iterable[str] | None, place: str) -> str:
    """A prefix that tells new names from old ones; empty where they differ anyway.

    Args:
        old: names that stay as they are.
        new: the names; None where they are not known yet, and might be the same.
        place: name of their place, which the prefix begins with.
    """
    taken = {_stem(name) for name in old}
    if new is None:
        return next(prefix for prefix in _prefixes(place) if not any(name.startswith(prefix) for name in taken))
    stems = {_stem(name) for name in new}
    candidates = chain([""], _prefixes(place))
    return next(prefix for prefix in candidates if not any(f"{prefix}{stem}" in taken for stem in stems))


def _prefixes(place: str) -> Iterator[str]:
    yield f"{place}/"
    yield from (f"{place}_{number}/" for number in count(2))


def _stem(name: str) -> str:
    """A name without its ending: programs that match pictures by names look at no more."""
    return PurePosixPath(name).with_suffix("").as_posix() if PurePosixPath(name).name else name
