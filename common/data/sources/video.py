"""Frames from video files and cameras, decoded by OpenCV."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from common.data.sources.image_files import Frame, FrameSource, SourceError

_TIME_SLACK = 5e-4
"""Seconds; containers round times to milliseconds or worse."""
_FALLBACK_FPS = 30.0
"""Frame rate of videos and cameras that do not state one."""


class FrameSelector:
    """Chooses frames of one pass over a video: every n-th, or about `fps` per second. The first frame is always taken.

    With `fps`, the frames nearest to the wanted times are taken, also when the rate of the video varies about
    `native_fps`; a video slower than `fps` is taken whole.

    Raises:
        ValueError: `every` below 1, `fps` not positive, or both given.
    """

    def __init__(self, every: int = 1, fps: float | None = None, native_fps: float = _FALLBACK_FPS):
        if every < 1 or (fps is not None and not 0 < fps < math.inf):
            raise ValueError(f"every must be 1 or more and fps positive, got {every} and {fps}")
        if fps is not None and every != 1:
            raise ValueError(f"give either every or fps, not both (got {every} and {fps})")
        self.every, self.fps = every, fps
        # in wanted frame distances; a frame may come early by half the distance to the next one
        self._early = 0.0 if fps is None else 0.499 * min(1.0, fps / native_fps)
        self._first: tuple[int, float] | None = None
        self._due = 0

    def wants(self, number: int, seconds: float) -> bool:
        """Whether to take this frame. Ask about frames in order."""
        if self._first is None:
            self._first = number, seconds
        if self.fps is None:
            return (number - self._first[0]) % self.every == 0
        passed = (seconds - self._first[1]) * self.fps + self._early
        if passed < self._due:
            return False
        self._due = math.floor(passed) + 1
        return True


class VideoSource(FrameSource):
    """Frames of a video file, with the times of the container.

    Rotation metadata (phones) is applied by OpenCV. The number of frames that a container states is not believed:
    reading ends where decoding does, and frames that are missing then are noted in `skipped`.

    Args:
        path: the file, in any format that OpenCV's FFmpeg decodes.
        every: take every n-th frame.
        fps: take about so many frames per second instead; the video's own frames, none are made up.
        start: seconds; frames before are passed over, one by one because seeking is not exact in many files.
        end: seconds; ends before this time. None for the whole file.
        min_frames: raise if there are fewer frames.

    Raises:
        SourceError: the file is missing, not a video, of an unknown codec, or shorter than `start`.
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        path: str | Path,
        every: int = 1,
        fps: float | None = None,
        start: float = 0.0,
        end: float | None = None,
        min_frames: int = 2,
    ):
        super().__init__()
        FrameSelector(every, fps)
        if start < 0 or (end is not None and end <= start):
            raise ValueError(f"need 0 <= start < end, got start={start} and end={end}")
        self.path = Path(path).expanduser()
        self.every, self.fps, self.start, self.end, self.min_frames = every, fps, start, end, min_frames
        capture = self._open()
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        self.native_fps = rate if 0 < rate < 1e4 else _FALLBACK_FPS
        self.stated_frames = int(count) if 0 < count < 1e9 else None
        if self.stated_frames is not None and start * self.native_fps > self.stated_frames:
            raise SourceError(
                f"video {self.path} lasts {self.stated_frames / self.native_fps:.1f} s, less than {start=}"
            )

    @property
    def length(self) -> int | None:
        """Estimate from what the container states."""
        if self.stated_frames is None:
            return None
        last = self.stated_frames / self.native_fps
        seconds = max(0.0, (last if self.end is None else min(self.end, last)) - self.start)
        rate = self.native_fps / self.every if self.fps is None else min(self.fps, self.native_fps)
        return math.ceil(seconds * rate - 1e-6)

    def validate(self) -> None:
        """Open the file and decode its first two frames; raises SourceError."""
        capture = self._open()
        try:
            decoded = sum(capture.grab() and _retrieve_rgb(capture) is not None for _ in range(2))
        finally:
            capture.release()
        if decoded < min(2, self.min_frames):
            raise SourceError(f"video {self.path}: {decoded} of its first two frames can be decoded")

    def __iter__(self) -> Iterator[Frame]:
        capture, selector = self._open(), FrameSelector(self.every, self.fps, self.native_fps)
        number, seconds, taken = -1, -math.inf, 0
        try:
            while capture.grab():
                number += 1
                stated = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if number == 0 and not math.isfinite(stated):
                    stated = 0.0
                # some containers state no times, or times that stand still or jump back
                seconds = stated if stated > seconds else seconds + 1 / self.native_fps
                if self.end is not None and seconds >= self.end - _TIME_SLACK:
                    break
                if seconds < self.start - _TIME_SLACK or not selector.wants(number, seconds):
                    continue
                name, image = f"{self.path.name}:{number}", _retrieve_rgb(capture)
                if image is None:
                    self._skip(name, "this frame cannot be decoded")
                    continue
                taken += 1
                yield Frame(image, number, seconds, name)
            else:
                self._note_missing(number + 1)
        finally:
            capture.release()
        self._require(taken)

    def _note_missing(self, decoded: int) -> None:
        if self.stated_frames is not None and decoded < self.stated_frames - max(2, self.stated_frames // 100):
            self._skip(str(self.path), f"states {self.stated_frames} frames, only the first {decoded} can be decoded")

    def _skip(self, name: str, reason: str) -> None:
        if (name, reason) not in self.skipped:
            self.skipped.append((name, reason))

    def _require(self, count: int) -> None:
        if count < self.min_frames:
            part = f" between {self.start:g} s and {'its end' if self.end is None else f'{self.end:g} s'}"
            raise SourceError(f"video {self.path}: {count} frame(s){part}, at least {self.min_frames} are needed")

    def _open(self) -> cv2.VideoCapture:
        if not self.path.exists():
            raise SourceError(f"video {self.path} does not exist")
        if self.path.is_dir():
            raise SourceError(f"{self.path} is a folder, not a video; for a folder of images use source=folder")
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise SourceError(f"{self.path} is not a video, is damaged, or has a codec that OpenCV does not know")
        return capture


class CameraSource(FrameSource):
    """Live frames of a local camera or of a network stream. Timestamps are times of arrival.

    A stream that stops ends the iteration, with a note in `skipped`. Only one iteration at a time.

    Args:
        device: 0 for the first camera, 1 and so on, ``/dev/video0``, or a URL such as ``rtsp://host/stream``.
        max_frames: stop after so many frames; None to go on until `close` or the end of the stream.
        every: take every n-th frame.
        fps: take about so many frames per second instead.
        open_timeout: seconds to wait for a stream to answer; local cameras do not use it.
        read_timeout: seconds to wait for each frame of a stream.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        device: int | str = 0,
        max_frames: int | None = None,
        every: int = 1,
        fps: float | None = None,
        open_timeout: float = 10.0,
        read_timeout: float = 10.0,
    ):
        super().__init__()
        FrameSelector(every, fps)
        if (max_frames is not None and max_frames < 1) or not min(open_timeout, read_timeout) > 0:
            raise ValueError(f"max_frames and timeouts must be positive: {max_frames}, {open_timeout}, {read_timeout}")
        self.device, self.max_frames, self.every, self.fps = str(device), max_frames, every, fps
        self.open_timeout, self.read_timeout = open_timeout, read_timeout
        # what may be shown: without the user and password of a URL
        self.name = f"camera {device}" if self.device.isdigit() else re.sub(r"://[^/]*@", "://", self.device)
        self._capture: cv2.VideoCapture | None = None
        self._closed = False

    def validate(self) -> None:
        """Open the camera, which then stays open for the iteration. Raises SourceError if that fails."""
        if self._capture is None:
            self._capture = self._open()

    def __iter__(self) -> Iterator[Frame]:
        self._closed = False
        self.validate()
        capture, self._capture = self._capture, None
        assert capture is not None
        selector, number, taken, first = FrameSelector(self.every, self.fps), -1, 0, 0.0
        try:
            while not self._closed and (self.max_frames is None or taken < self.max_frames):
                if not capture.grab():
                    break
                number += 1
                now = time.monotonic()
                first = now if number == 0 else first
                image = _retrieve_rgb(capture) if selector.wants(number, now - first) else None
                if image is not None:
                    taken += 1
                    yield Frame(image, number, now - first, f"{self.name}:{number}")
            else:
                return
        finally:
            capture.release()
        if number < 0 and not self._closed:
            raise SourceError(f"{self.name} opened but gave no frame within {self.read_timeout:g} s")
        self.skipped.append((self.name, f"the stream ended after {number + 1} frames"))

    def close(self) -> None:
        """Ask a running iteration to stop after the frame it waits for; it releases the camera itself."""
        self._closed = True
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        if "://" in self.device:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(self.open_timeout * 1000)]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self.read_timeout * 1000)]
            capture = cv2.VideoCapture(self.device, cv2.CAP_FFMPEG, limits)
            hint = f"no video within {self.open_timeout:g} s; check the address, the password and the network"
        else:
            capture = cv2.VideoCapture(int(self.device) if self.device.isdigit() else self.device)
            hint = "no such camera, no permission, or another program uses it"
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"cannot open {self.name}: {hint}")
        return capture


def _retrieve_rgb(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The frame that was grabbed last as (H, W, 3) uint8 RGB; None if it cannot be decoded."""
    decoded, image = capture.retrieve()
    if not decoded or image is None:
        return None
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
