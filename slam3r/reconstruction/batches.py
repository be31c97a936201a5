"""Batches of items that the networks can take together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def equal_batches(items: Iterable[T], length: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Consecutive items of equal length, ``most`` at most in a batch."""
    batch: list[T] = []
    for item in items:
        if batch and (length(item) != length(batch[0]) or len(batch) == most):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
