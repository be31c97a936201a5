"""Mixtures of data sets with a fixed number of windows per data set and epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from common.views import Views

_KEPT_ORDERS = 4


class EpochDataset(Protocol):
    """A data set whose windows are drawn anew in every epoch.

    It may also have ``describe(index) -> str``, which names an item, and ``set_size((height, width))``, for batches of
    different shapes.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Views: ...

    def set_epoch(self, epoch: int) -> None:
        """Fix the random draws of the epoch."""


def describe(data: EpochDataset, index: int) -> str:
    """Name of an item, if the data set has one, else its number."""
    return data.describe(index) if hasattr(data, "describe") else f"item {index}"


@dataclass(frozen=True)
class Source:
    """A data set and its share of a mixture."""

    dataset: EpochDataset
    samples_per_epoch: int

    def __post_init__(self) -> None:
        if self.samples_per_epoch < 1 or len(self.dataset) < 1:
            raise ValueError(
                f"a source needs windows and a share: {len(self.dataset)} windows, "
                f"samples_per_epoch={self.samples_per_epoch}"
            )


SourceLike: TypeAlias = Source | Mapping[str, Any]


class Mixture(Dataset[Views]):
    """Several data sets in one, with a fixed number of samples of each per epoch: ``4000 ScanNet++ + 2000 Aria + ...``.

    Each source is traversed in a random order that continues from epoch to epoch: every window comes once before any
    comes again, then with new random draws. Items are ordered by source; the sampler mixes them.
    """

    def __init__(self, sources: Mapping[str, SourceLike] | Sequence[SourceLike], seed: int = 0) -> None:
        """
        Args:
            sources: data sets and their shares, by name or as a sequence; each a `Source` or a mapping of its fields.
            seed: seed of the orders.
        """
        given = sources.values() if isinstance(sources, Mapping) else sources
        self.sources = [source if isinstance(source, Source) else Source(**source) for source in given]
        if not self.sources:
            raise ValueError("a mixture needs at least one source")
        self.seed = seed
        self.epoch = 0
        self._ends = np.cumsum([source.samples_per_epoch for source in self.sources])
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. Affects this process only."""
        self.epoch = epoch

    def set_size(self, size: tuple[int, int]) -> None:
        """Set the (height, width) of the views. Affects this process only."""
        for source in self.sources:
            source.dataset.set_size(size)  # type: ignore[attr-defined]  # only asked of data sets that can

    def __getitem__(self, index: int) -> Views:
        dataset, item = self._locate(index)
        return dataset[item]

    def describe(self, index: int) -> str:
        """Name of the item, from its data set."""
        return describe(*self._locate(index))

    def _locate(self, index: int) -> tuple[EpochDataset, int]:
        """The data set, set to its own epoch, and the item in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        which = int(np.searchsorted(self._ends, index, side="right"))
        source = self.sources[which]
        within = index - (int(self._ends[which - 1]) if which else 0)
        passes, offset = divmod(self.epoch * source.samples_per_epoch + within, len(source.dataset))
        source.dataset.set_epoch(passes)
        return source.dataset, int(self._order(which, passes)[offset])

    def _order(self, which: int, passes: int) -> NDArray[np.int64]:
        """Order of a source's windows in one pass over all of them. An epoch may span several passes."""
        order = self._orders.get((which, passes))
        if order is None:
            if len(self._orders) >= _KEPT_ORDERS * len(self.sources):
                self._orders.clear()
            generator = np.random.default_rng([self.seed, which, passes])
            order = self._orders[which, passes] = generator.permutation(len(self.sources[which].dataset))
        return order
