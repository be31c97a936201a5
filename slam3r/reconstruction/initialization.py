"""The initial window, whose pointmaps define the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from common.backbone import PatchGrid
from common.errors import InputError
from common.views import Pointmaps
from slam3r.reconstruction.events import Initialized, Observer, WindowTried
from slam3r.reconstruction.networks import Networks
from slam3r.reconstruction.scaling import normalize_confident
from slam3r.reconstruction.settings import ReconstructionSettings

SMALLEST_WINDOW = 3
"""A window of low confidence is not shrunk below this."""


@dataclass
class InitialScene:
    """Frames of the initial window and their pointmaps."""

    frames: list[int]
    reference: int
    """Position in ``frames`` of the one whose camera is the world."""
    points: Tensor
    """(V, H, W, 3) world; jointly normalized over the confident points, 0 elsewhere."""
    confidence: Tensor
    """(V, H, W) I2P's confidence."""
    valid: Tensor
    """(V, H, W) bool: the confident points."""


class SequenceTooShort(InputError, ValueError):
    """Raised if the sequence ends before the initial window is full."""


def initial_window(received: int, ended: bool, stride: int, settings: ReconstructionSettings) -> int | None:
    """Number of keyframes to begin with; None while frames are missing that may still come.

    Args:
        received: frames pushed so far.
        ended: no more frames will come; a smaller window, of at least two keyframes, is used then.
        stride: keyframe stride.
        settings: the number wanted.

    Raises:
        SequenceTooShort: there are not even two keyframes.
    """
    window = settings.initial_window
    if received >= window * stride:
        return window
    if not ended:
        return None
    window = max(2, min(window, received // stride))
    needed = (window - 1) * stride + 1
    if received < needed:
        raise SequenceTooShort(
            f"{received} frames do not fill an initial window of {window} keyframes at stride {stride}; "
            f"give at least {needed} frames, or a smaller stride"
        )
    return window


def initialize(
    tokens: Mapping[int, Tensor],
    grid: PatchGrid,
    stride: int,
    window: int,
    networks: Networks,
    settings: ReconstructionSettings,
    observe: Observer,
) -> InitialScene:
    """Try every frame of the window as reference and keep the most confident; shrink a low-confidence window.

    Args:
        tokens: frame -> (N, E); frames 0, stride, .., (window - 1) stride are read.
        grid: their patch grid.
        stride: keyframe stride.
        window: keyframes to begin with.
        networks: decode the windows.
        settings: thresholds and batch sizes.
        observe: called with every window and reference tried.
    """
    while True:
        frames = [position * stride for position in range(window)]
        stacked = torch.stack([tokens[frame] for frame in frames])
        best, best_score, best_reference = None, -float("inf"), 0
        for reference in range(window):
            pointmaps = _window_from(stacked, reference, networks, grid)
            score = float(pointmaps.confidence.double().mean())
            observe(WindowTried(tuple(frames), reference, score))
            if score > best_score:
                best, best_score, best_reference = pointmaps, score, reference
        assert best is not None
        if window > SMALLEST_WINDOW and best_score < settings.initial_confidence:
            window -= 1
            continue
        observe(Initialized(tuple(frames), best_reference))
        points, valid = normalize_confident(best.points[None], best.confidence[None], settings.local_threshold)
        return InitialScene(frames, best_reference, points[0], best.confidence, valid[0])


def _window_from(tokens: Tensor, reference: int, networks: Networks, grid: PatchGrid) -> Pointmaps:
    """Pointmaps (V, H, W, ..) of a window in the order of its frames, seen from one of them."""
    order = [reference, *(i for i in range(len(tokens)) if i != reference)]
    pointmaps = networks.window_pointmaps(tokens[order][None], grid)[0]
    return pointmaps[torch.argsort(torch.tensor(order))]
