"""Numbered frames of a video file, for data sets that ship videos instead of image folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.data.sources.video_decoding import DecodedFrame, VideoOpenError, open_video
from data_process.errors import BadFrameError, SceneError


class VideoFrames:
    """Reads frames by their number, from 0; numbers are asked for in ascending order. A damaged frame is one frame.

    Raises:
        SceneError: the file is not a video that FFmpeg can decode.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._video = open_video(path)
        except (VideoOpenError, OSError) as error:
            raise SceneError(f"{path}: not a readable video: {error}") from error
        self._frames = iter(self._video)
        self._next: DecodedFrame | None = None
        self._asked = -1

    def read(self, number: int) -> NDArray[np.uint8]:
        """Frame `number` as (H, W, 3) RGB.

        Raises:
            BadFrameError: the video ends before the frame, or the frame is damaged.
        """
        if number <= self._asked:
            raise ValueError(f"frame {number} was asked for after frame {self._asked}")
        self._asked = number
        while self._next is None or self._next.number < number:
            self._next = next(self._frames, None)
            if self._next is None:
                ended = number >= self._video.seen
                raise BadFrameError("the video ends before the frame" if ended else "damaged video frame")
        if self._next.number > number:
            raise BadFrameError("damaged video frame")
        return self._next.to_rgb()
