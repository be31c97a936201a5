"""Means and medians over validation windows, per data set and over all ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median

import torch


class WindowStatistics:
    """Collects one value per term and window, and summarizes them when the validation ends.

    The median is over windows, so it depends neither on the batch size nor on the number of ranks, and a few windows
    without a solution do not move it: the published "best" checkpoint is chosen by it.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)

    def add(self, dataset: str, window: int, terms: Mapping[str, float]) -> None:
        """Add the terms of a window; its number prevents counting a window twice that several ranks saw."""
        for term, value in terms.items():
            self._values[dataset, term][window] = value

    def summarize(self, datasets: Sequence[str]) -> dict[str, float]:
        """Means and medians, the same on every rank; resets the statistics.

        Args:
            datasets: names of the validation sets, in order. Every rank calls with the same ones.

        Returns:
            ``<term>`` and ``<term>_median`` over all sets (the mean of the sets' figures), and, if there are several,
            ``<set>/<term>`` and ``<set>/<term>_median``.
        """
        values = _merge(dict(self._values))
        self._values.clear()
        terms = list(dict.fromkeys(term for _, term in values))
        result: dict[str, float] = {}
        for suffix, figure in (("", fmean), ("_median", median)):
            for term in terms:
                per_set = {name: figure(values[name, term].values()) for name in datasets if values.get((name, term))}
                result[f"{term}{suffix}"] = fmean(per_set.values())
                if len(datasets) > 1:
                    result |= {f"{name}/{term}{suffix}": value for name, value in per_set.items()}
        return result


def _merge(values: dict[tuple[str, str], dict[int, float]]) -> dict[tuple[str, str], dict[int, float]]:
    """Merge the values of all ranks."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    everyone: list[dict[tuple[str, str], dict[int, float]]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(everyone, values)
    merged: dict[tuple[str, str], dict[int, float]] = {}
    for part in everyone:
        for key, windows in part.items():
            merged.setdefault(key, {}).update(windows)
    return merged
