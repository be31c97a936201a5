"""Shape of a depth map: smooth inside surfaces, sharp at their edges. Both figures are free of scale.

Inverse depth is linear over the pixels of a plane (a homography of the plane to the picture), so its second difference
is zero there whatever the plane's slant.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_FLAT = 1e-4
"""Relative second difference of the true inverse depth below which a pixel lies inside a plane."""
_EDGE = 1.1
"""Ratio of neighbouring true depths from which there is an edge."""


def surface_roughness(prediction: Tensor, truth: Tensor) -> float:
    """Mean absolute second difference of the predicted inverse depth, over itself, inside the truth's planes.

    Args:
        prediction: (H, W) positive, any unit.
        truth: (H, W) exact, as a renderer has it; 0 where invalid.

    Returns:
        0 for planes that are planes; NaN where the truth has none.
    """
    known = F.max_pool2d((truth <= 0).float()[None], 3, 1)[0] == 0
    inside = known & (_bend(truth.clamp(min=1e-6)) < _FLAT)
    return float(_bend(prediction)[inside].mean())


def edge_score(prediction: Tensor, truth: Tensor, reach: int = 2) -> float:
    """F-score of depth edges: pixels where neighbouring depths differ by a tenth, found again within ``reach`` pixels.

    Args:
        prediction, truth: (H, W) along z, each in its own unit; truth 0 where invalid.
        reach: pixels.

    Returns:
        1 for edges that coincide; NaN where the truth has none.
    """
    known = truth > 0
    true, found = _edges(torch.where(known, truth, 1.0)), _edges(prediction)
    around = F.max_pool2d((~known).float()[None], 5, 1, 2)[0] > 0  # no judgement beside what is not known
    true, found = true & ~around, found & ~around
    if not true.any():
        return float("nan")
    if not found.any():
        return 0.0
    precision = _near(true, reach)[found].float().mean()
    recall = _near(found, reach)[true].float().mean()
    return float(2 * precision * recall / (precision + recall).clamp(min=1e-9))


def _bend(depth: Tensor) -> Tensor:
    """(H - 2, W - 2): the larger of both directions' second differences of the inverse depth, over itself."""
    inverse = 1 / depth
    middle = inverse[1:-1, 1:-1]
    across = inverse[1:-1, 2:] + inverse[1:-1, :-2] - 2 * middle
    down = inverse[2:, 1:-1] + inverse[:-2, 1:-1] - 2 * middle
    return torch.maximum(across.abs(), down.abs()) / middle


def _edges(depth: Tensor) -> Tensor:
    """(H, W) bool: depth changes by the ratio within two pixels, to the right or downward."""
    log = depth.clamp(min=1e-6).log()
    edge = torch.zeros_like(log, dtype=torch.bool)
    edge[:, 1:-1] |= (log[:, 2:] - log[:, :-2]).abs() > torch.tensor(_EDGE).log()
    edge[1:-1] |= (log[2:] - log[:-2]).abs() > torch.tensor(_EDGE).log()
    return edge


def _near(mask: Tensor, reach: int) -> Tensor:
    return F.max_pool2d(mask.float()[None], 2 * reach + 1, 1, reach)[0] > 0
