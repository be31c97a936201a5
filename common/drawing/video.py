"""Video files written by OpenCV: VP9 in MP4, which browsers and players open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from common.files import atomic_path

_CODECS = ("vp09", "mp4v")
"""In order of preference. LGPL builds of OpenCV have no H.264 encoder; MPEG-4 part 2 plays in few browsers."""


class FrameWriter(Protocol):
    """Takes the frames of a video, one by one."""

    def __call__(self, image: NDArray[np.uint8]) -> None:
        """Append a frame (H, W, 3) RGB."""
        ...


@contextmanager
def video_writer(path: str | os.PathLike[str], size: tuple[int, int], fps: float = 24.0) -> Iterator[FrameWriter]:
    """Context with a function that appends frames to a video; the file appears if the block ends without exception.

    Args:
        path: of the MP4 file.
        size: (height, width) of the frames; an odd last row or column is left out, as the codecs demand.
        fps: frames per second.

    Raises:
        OSError: this OpenCV cannot encode video.
    """
    height, width = (side - side % 2 for side in size)
    with atomic_path(path) as temporary:
        encoder, count = _open(temporary, (width, height), fps), 0

        def write(image: NDArray[np.uint8]) -> None:
            if image.shape != (*size, 3) or image.dtype != np.uint8:
                raise ValueError(f"expected a frame {(*size, 3)} of uint8, got {image.shape} of {image.dtype}")
            nonlocal count
            count += 1
            encoder.write(cv2.cvtColor(image[:height, :width], cv2.COLOR_RGB2BGR))

        try:
            yield write
        finally:
            encoder.release()
        if not temporary.is_file():
            raise OSError(f"cannot write {path}: no frame was given")
        # OpenCV reports no failure, also when the disk is full: what was written tells.
        if (readable := _frames_in(temporary)) != count:
            raise OSError(f"cannot write {path}: {readable} of {count} frames arrived; is the disk full?")


def _frames_in(path: Path) -> int:
    """Number of frames of a finished video; 0 if it cannot be opened."""
    try:
        with av.open(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(video=0))
    except (av.error.FFmpegError, IndexError):
        return 0


def _open(path: Path, size: tuple[int, int], fps: float) -> cv2.VideoWriter:
    for codec in _CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
    raise OSError(f"cannot write {path}: this OpenCV encodes none of {', '.join(_CODECS)}")
