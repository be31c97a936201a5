"""Numbered frames out of a video file, for data sets that ship videos where others ship folders of images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_process.formats.frame_files import BadFrameError
from data_process.writing.scene_writer import SceneError


class VideoFrames:
    """Reads frames by their number, from 0; numbers are asked for in ascending order.

    Raises:
        SceneError: the file is not a video that OpenCV can decode.
    """

    def __init__(self, path: Path) -> None:
        self._video = cv2.VideoCapture(str(path))
        self._next = 0
        if not self._video.isOpened():
            raise SceneError(f"{path}: not a readable video")

    def read(self, number: int) -> NDArray[np.uint8]:
        """Frame `number` as (H, W, 3) RGB.

        Raises:
            BadFrameError: the video ends before, or the frame is damaged.
        """
        if number < self._next:
            raise ValueError(f"frame {number} was asked for after frame {self._next - 1}")
        while self._next <= number:
            if not self._video.grab():
                raise BadFrameError("the video ends before the frame")
            self._next += 1
        decoded, image = self._video.retrieve()
        if not decoded:
            raise BadFrameError("damaged video frame")
        return np.ascontiguousarray(image[..., ::-1])
