"""Sizes of images that the networks take."""

from __future__ import annotations

PATCH = 16
"""Pixels a side of a patch: images have sides that are multiples of it."""


def check_image_size(size: tuple[int, int]) -> None:
    """Check that both sides of a (height, width) are positive multiples of `PATCH`.

    Raises:
        ValueError: naming the size.
    """
    if any(side < PATCH or side % PATCH for side in size):
        raise ValueError(f"size is made of multiples of {PATCH}, got {list(size)}")
