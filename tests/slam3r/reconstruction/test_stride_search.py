"""The search for the keyframe stride: every stride as published, or fewer from coarse to fine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from common.backbone import PatchGrid
from slam3r.reconstruction import ReconstructionSettings
from slam3r.reconstruction.events import StrideTried
from slam3r.reconstruction.keyframes import find_stride


class PeakedNetworks:
    """Is the more confident the nearer the stride of a window is to `peak`. A frame's token is its number."""

    def __init__(self, peak: int) -> None:
        self.peak, self.windows = peak, 0

    def window_pointmaps(self, tokens: torch.Tensor, grid: PatchGrid) -> Any:
        self.windows += len(tokens)
        stride = (tokens[:, 1] - tokens[:, 0]).abs().mean(dim=(1, 2))
        confidence = 10 - (stride - self.peak).abs()
        return SimpleNamespace(confidence=confidence[:, None, None, None].expand(-1, 7, 2, 2))


def search(peak: int, how: Literal["exhaustive", "coarse_to_fine"], frames: int = 61) -> tuple[int, int, list[int]]:
    networks, tried = PeakedNetworks(peak), []
    settings = ReconstructionSettings(stride_max=10, stride_search=how)
    tokens = [torch.full((1, 1), float(number)) for number in range(frames)]
    observe = lambda event: tried.append(event.stride) if isinstance(event, StrideTried) else None  # noqa: E731
    stride = find_stride(tokens, PatchGrid(2, 2), networks, settings, np.random.RandomState(0), observe)  # type: ignore[arg-type]
    return stride, networks.windows, tried


@pytest.mark.parametrize("peak", range(1, 11))
def test_both_searches_find_the_peak_and_the_coarse_one_asks_less(peak: int) -> None:
    stride, windows, tried = search(peak, "exhaustive")
    assert (stride, tried) == (peak, list(range(1, 11)))
    fast, fewer, some = search(peak, "coarse_to_fine")
    assert fast == peak
    assert len(some) == len(set(some)) <= 8
    assert fewer <= windows / 2.5


def test_a_short_sequence_limits_the_strides() -> None:
    assert search(9, "coarse_to_fine", frames=20)[0] == search(9, "exhaustive", frames=20)[0] == 3
    assert search(9, "coarse_to_fine", frames=5)[0] == search(9, "exhaustive", frames=5)[0] == 1
