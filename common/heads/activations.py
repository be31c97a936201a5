"""Activations that map a head's raw output to points and confidences.

Sources: DUSt3R (Wang et al. 2024) for ``exp``, ``square`` and the confidence ``expp1``; VGGT (Wang et al. 2025) for
``inv_log``. All run in the type of their input; heads give them float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from common.views import Pointmaps


def _exp(raw: Tensor) -> Tensor:
    distance = raw.norm(dim=-1, keepdim=True)
    return raw / distance.clamp(min=1e-8) * torch.expm1(distance)


def _square(raw: Tensor) -> Tensor:
    distance = raw.norm(dim=-1, keepdim=True)
    return raw / distance.clamp(min=1e-8) * distance.square()


def _inv_log(raw: Tensor) -> Tensor:
    return raw.sign() * torch.expm1(raw.abs())


def _xy_inv_log(raw: Tensor) -> Tensor:
    z = _inv_log(raw[..., 2:])
    return torch.cat([raw[..., :2] * z, z], dim=-1)


POINT_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": _exp,
    "square": _square,
    "inv_log": _inv_log,
    "xy_inv_log": _xy_inv_log,
    "linear": lambda raw: raw,
}
"""``exp``: direction of the raw vector, distance expm1 of its length. ``inv_log``: sign(x) expm1(|x|) per axis;
``xy_inv_log``: so for z, and x and y as multiples of it."""

CONFIDENCE_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "expp1": lambda raw: 1 + raw.exp(),
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "linear": lambda raw: raw,
}
"""``expp1``, 1 + exp(x), is what SLAM3R and DUSt3R call "exp with minimum 1"."""


def _lookup(table: dict[str, Callable[[Tensor], Tensor]], name: str, kind: str) -> Callable[[Tensor], Tensor]:
    if name not in table:
        raise ValueError(f"unknown {kind} activation {name!r}; expected one of {', '.join(table)}")
    return table[name]


def activate_points(raw: Tensor, activation: str = "exp") -> Tensor:
    """(..., 3) raw values to (..., 3) points.

    Raises:
        ValueError: for an activation that is not in `POINT_ACTIVATIONS`.
    """
    return _lookup(POINT_ACTIVATIONS, activation, "point")(raw)


def activate_confidence(raw: Tensor, activation: str = "expp1") -> Tensor:
    """(...) raw logits to (...) confidences.

    Raises:
        ValueError: for an activation that is not in `CONFIDENCE_ACTIVATIONS`.
    """
    return _lookup(CONFIDENCE_ACTIVATIONS, activation, "confidence")(raw)


def activate(raw: Tensor, points: str = "exp", confidence: str = "expp1") -> Pointmaps:
    """(..., 4) raw values (x, y, z, confidence logit) to pointmaps."""
    return Pointmaps(activate_points(raw[..., :3], points), activate_confidence(raw[..., 3], confidence))
