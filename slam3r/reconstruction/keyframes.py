"""Search for the keyframe stride: the spacing of frames whose windows have the highest confidence."""

from __future__ import annotations

from collections.abc import Sequence

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
"""Largest number of windows tried per stride."""


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
        settings: range of strides.
        random: draws the windows' centres.
        observe: called with every stride tried.
    """
    count = len(tokens)
    best_stride, best_score = 1, -np.inf
    largest = min((count - 1) // (2 * SEARCH_RADIUS), settings.stride_max)
    for stride in range(settings.stride_min, largest + 1, settings.stride_step):
        reach = SEARCH_RADIUS * stride
        number = min(count - 2 * reach, SEARCH_WINDOWS)
        centers = random.choice(np.arange(reach, count - reach), number, replace=False).tolist()
        total = 0.0
        for start in range(0, number, settings.window_batch):
            windows = [
                torch.stack([tokens[i] for i in (center, *neighbours(center, stride, SEARCH_RADIUS, count - 1))])
                for center in centers[start : start + settings.window_batch]
            ]
            pointmaps = networks.window_pointmaps(torch.stack(windows), grid)
            total += float(pointmaps.confidence.mean(dim=(1, 2, 3)).double().sum())
        score = total / number
        observe(StrideTried(stride, tuple(centers), score))
        if score > best_score:
            best_stride, best_score = stride, score
    return best_stride
