"""Gradient norm, clipping, and the check for non-finite losses."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def poison_if_not_finite(loss: Tensor) -> Tensor:
    """Return the loss if it is finite, else a loss whose gradients are all NaN.

    Averaging over ranks spreads NaN to all of them, so that all skip the same step and none waits for another. An
    infinite loss may have finite gradients, hence the factor. Does not synchronize the device.
    """
    factor = torch.where(loss.detach().isfinite(), 1.0, torch.nan)
    return loss * factor.to(loss.dtype)


def clip_gradients(parameters: Iterable[Tensor], limit: float | None) -> Tensor:
    """Scale all gradients so that their joint norm is at most ``limit``.

    Works for fused optimizers, which Lightning's own clipping refuses with scaled precision, and for sharded
    parameters (FSDP), whose norm is summed over the ranks.

    Args:
        parameters: those without a gradient are left out.
        limit: None measures only.

    Returns:
        () the norm before clipping, the same on every rank; NaN or infinite if any gradient is.
    """
    with_gradient = [p for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in with_gradient if p.grad is not None])
    if hasattr(norm, "full_tensor"):  # sharded: up to here, the norm of this rank's shard
        norm = norm.full_tensor()
    if limit is not None:
        torch.nn.utils.clip_grads_with_norm_(with_gradient, limit, norm)
    return norm
