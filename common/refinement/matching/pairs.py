"""Choice of the pairs of pictures that are compared: a number that grows linearly with the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.refinement.matching.features import Features
from common.refinement.settings import MatchingSettings

EARLY_FEATURES = 256  # of largest scale, which stand for a picture
_EARLY_MATCHES = 4  # of them that a pair must share to be compared in full
_DIRECT = 200  # up to so many pictures, all pairs take the early test
_WORDS = 32
_SAMPLE = 20_000
_BATCH = 64


def select_pairs(
    features: Sequence[Features], settings: MatchingSettings, similarity: NDArray[np.floating] | None = None
) -> list[tuple[int, int]]:
    """Pairs that are worth comparing in full.

    Neighbours in time, and pictures that look alike wherever they stand in the order. All but the nearest neighbours
    must share some of their largest features first (Wu 2013, preemptive matching), which costs a hundredth.

    Args:
        features: of N pictures in the order of time; an arbitrary order costs nothing but the time neighbours' worth.
        settings: numbers of partners.
        similarity: (N, N) retrieval scores, higher is more alike; where None, the pictures' own features say.

    Returns:
        Sorted pairs (first < second), at most N (partners_in_time + partners_alike) or, for few pictures, all.
    """
    count = len(features)
    everything = count <= settings.all_pairs_up_to
    certain = {(first, first + step) for step in (1, 2) for first in range(count - step)}
    distances = range(1, count) if everything else [2**power for power in range(settings.partners_in_time)]
    near = {(first, first + step) for step in distances for first in range(count - step)}
    tops = [feature.unit_descriptors(slice(0, EARLY_FEATURES)) for feature in features]
    candidates = near - certain
    if not everything:
        candidates |= _alike(features, settings, similarity) - certain
    ordered = sorted(candidates)
    shared = dict(zip(ordered, early_matches(tops, ordered, settings.ratio)))
    chosen = {pair for pair in near - certain if shared[pair] >= _EARLY_MATCHES} | certain
    if not everything:
        chosen |= _best_partners(shared, near, count, settings.partners_alike)
    return sorted(chosen)


def early_matches(tops: Sequence[Tensor], pairs: Sequence[tuple[int, int]], ratio: float) -> list[int]:
    """Clear mutual matches between the largest features of each pair.

    Args:
        tops: N descriptors (k, D), unit vectors, k at most `EARLY_FEATURES`.
        pairs: rows of `tops`.
        ratio: of distances, as for full matching.
    """
    if not pairs:
        return []
    padded = torch.zeros(len(tops), EARLY_FEATURES, tops[0].shape[1])
    for index, top in enumerate(tops):
        padded[index, : len(top)] = top
    counts: list[int] = []
    for start in range(0, len(pairs), _BATCH):
        rows = torch.tensor(pairs[start : start + _BATCH])
        similarity = padded[rows[:, 0]] @ padded[rows[:, 1]].mT
        best = similarity.topk(2, dim=2)
        mutual = similarity.amax(dim=1).gather(1, best.indices[..., 0]) == best.values[..., 0]
        distance, rival = (2 - 2 * best.values).clamp(min=0).unbind(dim=2)
        clear = (distance <= ratio**2 * rival) & mutual & (best.values[..., 0] > 0)
        counts.extend(clear.sum(dim=1).tolist())
    return counts


def global_descriptors(features: Sequence[Features], seed: int = 0) -> Tensor:
    """(N, F) unit vectors that are alike for pictures of the same place: VLAD (Jegou et al. 2010) on their features.

    The vocabulary is made of the pictures themselves.
    """
    generator = torch.Generator().manual_seed(seed)
    share = max(1, _SAMPLE // max(len(features), 1))
    sample = torch.cat([feature.unit_descriptors(slice(0, share)) for feature in features])
    words = _cluster(sample, generator)
    vectors = torch.zeros(len(features), *words.shape)
    for index, feature in enumerate(features):
        descriptors = feature.unit_descriptors()
        if len(descriptors):
            nearest = (descriptors @ words.T - 0.5 * (words * words).sum(dim=1)).argmax(dim=1)
            vectors[index].index_add_(0, nearest, descriptors - words[nearest])
    vectors = torch.nn.functional.normalize(vectors, dim=2).flatten(1)
    return torch.nn.functional.normalize(vectors, dim=1)


def _cluster(sample: Tensor, generator: torch.Generator, iterations: int = 8) -> Tensor:
    """(_WORDS, D) centres of k-means."""
    if len(sample) < _WORDS:
        return torch.cat([sample, torch.zeros(_WORDS - len(sample), sample.shape[1])])
    words = sample[torch.randperm(len(sample), generator=generator)[:_WORDS]].clone()
    for _ in range(iterations):
        nearest = (sample @ words.T - 0.5 * (words * words).sum(dim=1)).argmax(dim=1)
        members = torch.bincount(nearest, minlength=_WORDS)
        sums = torch.zeros_like(words).index_add_(0, nearest, sample)
        words = torch.where(members[:, None] > 0, sums / members[:, None].clamp(min=1), words)
    return words


def _alike(
    features: Sequence[Features], settings: MatchingSettings, similarity: NDArray[np.floating] | None
) -> set[tuple[int, int]]:
    """Pairs for the early test: all of few pictures, else the most similar ones, four times as many as are wanted."""
    count = len(features)
    if similarity is None and count <= _DIRECT:
        return {(first, second) for first in range(count) for second in range(first + 1, count)}
    if similarity is None:
        vectors = global_descriptors(features)
        scores = vectors @ vectors.T
    else:
        scores = torch.from_numpy(np.array(similarity, dtype=np.float32)).nan_to_num(nan=-torch.inf)
        scores = torch.maximum(scores, scores.T)
    index = torch.arange(count)
    too_near = (index[:, None] - index[None]).abs() <= 2
    scores.masked_fill_(too_near, -torch.inf)
    partners = scores.topk(min(4 * settings.partners_alike, count - 1), dim=1)
    return {
        (min(first, int(second)), max(first, int(second)))
        for first in range(count)
        for second, score in zip(partners.indices[first], partners.values[first])
        if score > -torch.inf
    }


def _best_partners(
    shared: dict[tuple[int, int], int], near: set[tuple[int, int]], count: int, partners: int
) -> set[tuple[int, int]]:
    """For each picture, the pairs beyond its time neighbours that share most."""
    ranked: list[list[tuple[int, tuple[int, int]]]] = [[] for _ in range(count)]
    for pair, number in shared.items():
        if number >= _EARLY_MATCHES and pair not in near:
            for frame in pair:
                ranked[frame].append((-number, pair))
    return {pair for row in ranked for _, pair in sorted(row)[:partners]}
