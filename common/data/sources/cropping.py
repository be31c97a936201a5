"""Share of a picture that the networks see: it is resized to cover their image size, and the rest is cropped."""

from __future__ import annotations

import math

from common.image_size import PATCH

_MUCH_KEPT = 0.5
"""Share of a picture below which the crop is worth a warning; 16:9 into a square keeps 0.56."""
_LONGEST = 4
"""Longest network image that is suggested, as width by height: positions far beyond the training's mean little."""


def covering_size(original: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the smallest image of the shape of `original` that covers `size`; rounded to whole pixels."""
    (original_height, original_width), (height, width) = original, size
    if original_width * height >= original_height * width:
        return height, round(height * (original_width / original_height))
    return round(width * (original_height / original_width)), width


def kept_share(original: tuple[int, int], size: tuple[int, int]) -> float:
    """Share of an image of `original` (height, width) that `preprocess` keeps; the rest is cropped."""
    covering = covering_size(original, size)
    return size[0] * size[1] / (covering[0] * covering[1])


def suggested_size(original: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of about the area of `size`, in multiples of 16, that keeps most of an image of `original`."""
    area, aspect = size[0] * size[1], min(_LONGEST, max(1 / _LONGEST, original[1] / original[0]))
    height = math.sqrt(area / aspect)
    return max(PATCH, round(height / PATCH) * PATCH), max(PATCH, round(height * aspect / PATCH) * PATCH)


def crop_warning(original: tuple[int, int], size: tuple[int, int]) -> str | None:
    """Warning for pictures that lose more than half of their area to the crop; None otherwise."""
    share = kept_share(original, size)
    if share >= _MUCH_KEPT:
        return None
    better = suggested_size(original, size)
    return (
        f"cropping keeps {100 * share:.2g} % of a picture of {original[1]} x {original[0]} pixels; "
        f"run.size=[{better[0]},{better[1]}] keeps {100 * kept_share(original, better):.2g} %"
    )
