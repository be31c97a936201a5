"""Masks: a folder of pictures that are white where their picture may be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.data.sources.frame_source import Frame
from common.data.sources.images import IMAGE_SUFFIXES, read_image
from common.known.depths import check_shape
from common.known.folders import FilesByName

_WHITE = 128


class MaskFolder:
    """Masks by the names of their pictures; a picture without one is used as a whole.

    Args:
        folder: of the masks, of any resolution.
    """

    def __init__(self, folder: str | Path) -> None:
        files = FilesByName(folder, IMAGE_SUFFIXES, "masks")
        self._files, self.require_any = files, files.require_any

    def find(self, frame: Frame) -> NDArray[np.bool_] | None:
        """(h, w) True where the picture may be used; None for a picture without a mask.

        Raises:
            InputError: the mask cannot be read, or is of another shape than the picture.
        """
        path = self._files.find(frame)
        if path is None:
            return None
        values = read_image(path).max(axis=-1)
        mask = values >= _WHITE if values.max() > 1 else values > 0  # some programs write 0 and 1
        check_shape(path, mask.shape, frame.image.shape[:2])
        return mask
