"""Retrieval of the buffered frames that see the same place as the frames to register."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.backbone import PatchGrid
from slam3r.reconstruction.networks import Networks


def retrieve(
    queries: Sequence[Tensor],
    candidates: Sequence[Tensor],
    count: int,
    networks: Networks,
    grid: PatchGrid,
    batch: int,
) -> tuple[list[int], list[float] | None]:
    """Choose the candidates that correlate best with all queries together.

    Args:
        queries: (N, E) tokens of the frames to register (every second of them, as published).
        candidates: (N, E) tokens of the buffering set.
        count: how many to choose.
        networks: score the pairs.
        grid: patch grid of the tokens.
        batch: queries scored at once.

    Returns:
        Positions among the candidates, best first, and all scores (m - 1) / m for mean patch scores m; when there
        are no more candidates than wanted, all in their order and no scores.
    """
    if count >= len(candidates):
        return list(range(len(candidates))), None
    mean = networks.correlation(torch.stack(list(queries)), torch.stack(list(candidates)), grid, batch).double()
    scores = (mean - 1) / mean
    selected = torch.argsort(scores, descending=True, stable=True)[:count]
    return selected.tolist(), scores.tolist()
