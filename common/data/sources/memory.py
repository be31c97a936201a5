"""Images that are in memory already, as a source of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from common.data.sources.frame_source import Frame, FrameSource, SourceError
from common.data.sources.preprocess import denormalize


class ArraySource(FrameSource):
    """Images in memory.

    Args:
        images: (F, H, W, 3) uint8 RGB array, (F, 3, H, W) tensor of float in [-1, 1] or of uint8, or a sequence of
            (H, W, 3) uint8 arrays, which may differ in size.
        fps: images per second, for timestamps.
        min_frames: fewer are an error.

    Raises:
        SourceError: another shape or type, or too few images.
    """

    def __init__(self, images: Tensor | np.ndarray | Sequence[np.ndarray], fps: float = 30.0, min_frames: int = 2):
        super().__init__()
        if isinstance(images, Tensor):
            images = _to_array(images)
        self._images, self._fps = images, fps
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
                raise SourceError(
                    "images in memory are (F, H, W, 3) uint8 or a (F, 3, H, W) tensor of uint8 or float in [-1, 1]; "
                    f"got one of shape {tuple(image.shape)} and type {image.dtype}"
                )
        if len(images) < min_frames:
            raise SourceError(f"{len(images)} images in memory but at least {min_frames} are needed")

    @property
    def length(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            yield Frame(image, index, index / self._fps, f"{index:06d}")


def _to_array(images: Tensor) -> np.ndarray:
    if images.is_floating_point():
        return denormalize(images).cpu().numpy()
    if images.ndim == 4 and images.shape[1] == 3 and images.shape[3] != 3:
        images = images.movedim(1, 3)
    return images.contiguous().cpu().numpy()
