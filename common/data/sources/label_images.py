"""Label images: pictures whose pixels are numbers of classes, which data sets keep beside their photographs."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

_NAME = re.compile(r"(?<![a-z])labels?(?![a-z])", re.IGNORECASE)
_MOST_VALUES = 64
"""Pictures of one channel with at most so many values are labels: NYU40 has 41, photographs in grey over 100."""


def is_label_image(path: Path) -> bool:
    """Whether a readable picture is a label image by its name, or by the few values of its palette or only channel."""
    if _NAME.search(path.name):
        return True
    with Image.open(path) as image:
        return image.mode in ("1", "L", "P") and image.getcolors(_MOST_VALUES) is not None
