"""Candidates for a full comparison: the pairs of pictures that share most of their largest features."""

from __future__ import annotations

from collections.abc import Sequence

from common.refinement.matching.features import Features
from common.refinement.matching.pairs import EARLY_FEATURES, early_matches

FEWEST = 3
"""Large features that two pictures must share to be compared."""


def rank_pairs(first: Sequence[Features], second: Sequence[Features], ratio: float, most: int) -> list[tuple[int, int]]:
    """Pairs of a picture of one set and one of another, those that share most large features first.

    Preemptive matching (Wu 2013). It needs no model, and costs a hundredth of a full comparison.

    Args:
        first: features of N pictures.
        second: features of M pictures.
        ratio: of distances, as for full matching.
        most: pairs, at most.
    """
    tops = [feature.unit_descriptors(slice(0, EARLY_FEATURES)) for feature in (*first, *second)]
    pairs = [(row, len(first) + other) for row in range(len(first)) for other in range(len(second))]
    shared = early_matches(tops, pairs, ratio)
    order = sorted(range(len(pairs)), key=lambda index: -shared[index])
    return [(pairs[index][0], pairs[index][1] - len(first)) for index in order[:most] if shared[index] >= FEWEST]
