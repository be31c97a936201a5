"""The best depth of a matching volume, between its steps."""

from __future__ import annotations

from torch import Tensor


def find_peak(aggregated: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum of a parabola through the best step and its two neighbours.

    Args:
        aggregated: (B, D, H, W) smoothed cost; its minimum is taken.
        cost: (B, D, H, W) matching cost, 1 - correlation.

    Returns:
        (B, H, W) position in steps, within half a step of the best one; and (B, H, W) correlation there.
    """
    best = aggregated.argmin(dim=1, keepdim=True)
    centre = best.clamp(1, max(1, aggregated.shape[1] - 2))
    if aggregated.shape[1] < 3:
        return best[:, 0].to(cost.dtype), 1 - cost.gather(1, best)[:, 0]
    left, middle, right = (aggregated.gather(1, centre + step)[:, 0] for step in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = (0.5 * (left - right) / curvature.clamp(min=1e-6)).clamp(-0.5, 0.5)
    # At the ends of the range there is no parabola.
    shift = shift.masked_fill((best != centre)[:, 0] | (curvature <= 1e-6), 0)
    return best[:, 0] + shift, 1 - cost.gather(1, best)[:, 0]
