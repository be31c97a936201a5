"""Search for the keyframe stride: the spacing of frames whose windows have the highest confidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from common.backbone import PatchGrid
from slam3r.reconstruction.events import Observer, StrideTried
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.settings import ReconstructionSettings

SEARCH_RADIUS = 3
"""Neighbours on either side in the search's windows, whatever the reconstruction uses (published behaviour)."""
SEARCH_WINDOWS = 10
"""Largest number of windows tried per stride (published behaviour)."""
COARSE_WINDOWS = 4
"""The same for the search from coarse to fine: one batch of windows."""


def neighbours(frame: int, stride: int, radius: int, last: int, first: int = 0) -> list[int]:
    """Other frames of a window: ``frame -+ stride, frame -+ 2 stride, ..`` inside first..last, nearest first."""
    window = [frame + side * step * stride for step in range(1, radius + 1) for side in (-1, 1)]
    return [index for index in window if first <= index <= last]


def find_stride(
    tokens: Sequence[Tensor],
    grid: PatchGrid,
    networks: Networks,
    settings: ReconstructionSettings,
    random: np.random.RandomState,
    observe: Observer,
) -> int:
    """Find the stride whose windows have the highest mean confidence; the first on ties, 1 if none can be tried.

    Args:
        tokens: (N, E) of every frame to look at: the whole sequence offline, its first frames live.
        grid: their patch grid.
        networks: decode the windows.
        settings: range of strides, and how it is searched.
        random: draws the windows' centres.
        observe: called with every stride tried.
    """
    largest = min((len(tokens) - 1) // (2 * SEARCH_RADIUS), settings.stride_max)
    strides = list(range(settings.stride_min, largest + 1, settings.stride_step))
    if not strides:
        return 1
    coarse = settings.stride_search == "coarse_to_fine"
    windows = COARSE_WINDOWS if coarse else SEARCH_WINDOWS
    scores: dict[int, float] = {}

    def best_of(candidates: Iterable[int]) -> int:
        for stride in candidates:
            if stride not in scores:
                scores[stride] = _score_stride(stride, windows, tokens, grid, networks, settings, random, observe)
        return max(scores, key=lambda stride: (scores[stride], -stride))

    if not coarse:
        return best_of(strides)
    last = len(strides) - 1
    best = best_of(strides[2**power - 1] for power in range(len(strides).bit_length()))
    while True:  # halve the gaps on both sides of the best stride
        tried, place = sorted(strides.index(stride) for stride in scores), strides.index(best)
        below = max((other for other in tried if other < place), default=place)
        above = min((other for other in tried if other > place), default=last)
        middles = {(below + place) // 2, (place + above + 1) // 2} - set(tried)
        if not middles:
            return best
        best = best_of(strides[middle] for middle in sorted(middles))


def _score_stride(
    stride: int,
    most_windows: int,
    tokens: Sequence[Tensor],
    grid: PatchGrid,
    networks: Networks,
    settings: ReconstructionSettings,
    random: np.random.RandomState,
    observe: Observer,
) -> float:
    """Mean confidence of windows of a stride around randomly drawn centres."""
    count, reach = len(tokens), SEARCH_RADIUS * stride
    number = min(count - 2 * reach, most_windows)
    centers = random.choice(np.arange(reach, count - reach), number, replace=False).tolist()
    total = 0.0
    for start in range(0, number, settings.window_batch):
        windows = [
            torch.stack([tokens[i] for i in (center, *neighbours(center, stride, SEARCH_RADIUS, count - 1))])
            for center in centers[start : start + settings.window_batch]
        ]
        pointmaps = networks.window_pointmaps(torch.stack(windows), grid)
        total += float(pointmaps.confidence.mean(dim=(1, 2, 3)).double().sum())
    observe(StrideTried(stride, tuple(centers), total / number))
    return total / number
