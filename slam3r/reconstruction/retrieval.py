"""Retrieval of the buffered frames that see the same place as the frames to register."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from common.backbone import PatchGrid
from slam3r.reconstruction.memory.frame_store import FrameStore
from slam3r.reconstruction.networks import Networks


def chosen_queries(frames: Sequence[int], most: int | None) -> list[int]:
    """Choose the frames of a round that ask for references: every second one, as published, or a few evenly spaced.

    Args:
        frames: of the round, in order; not empty.
        most: number of queries at most; None for every second frame.
    """
    if most is None:
        return list(frames[::2])
    count = min(most, len(frames))
    return [frames[(2 * number + 1) * len(frames) // (2 * count)] for number in range(count)]


def retrieve(
    queries: Sequence[int],
    candidates: Sequence[int],
    count: int,
    store: FrameStore,
    networks: Networks,
    grid: PatchGrid,
    batch: int,
) -> tuple[list[int], list[float] | None]:
    """Choose the candidates that correlate best with all queries together.

    Args:
        queries: frames to register (`chosen_queries`).
        candidates: the buffering set.
        count: how many to choose.
        store: holds the tokens of all.
        networks: score the pairs.
        grid: patch grid of the tokens.
        batch: queries scored at once.

    Returns:
        Positions among the candidates, best first, and all scores (m - 1) / m for mean patch scores m; when there
        are no more candidates than wanted, all in their order and no scores.
    """
    if count >= len(candidates):
        return list(range(len(candidates))), None
    known = store.sources(candidates, networks, grid)
    mean = networks.correlation(store.tokens(queries), known, grid, batch).double()
    scores = (mean - 1) / mean
    selected = torch.argsort(scores, descending=True, stable=True)[:count]
    return selected.tolist(), scores.tolist()
