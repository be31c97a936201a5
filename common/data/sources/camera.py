"""Live frames of cameras and network streams."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.data.sources.frame_source import Frame, FrameSource, SourceError
from common.data.sources.video import FrameSelector
from common.data.sources.video_decoding import Damage, VideoOpenError, open_stream

logger = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
"""Seconds between attempts to reconnect; each wait is twice the one before."""

Picture = Callable[[], NDArray[np.uint8] | None]
"""Converts a frame when it is wanted: (H, W, 3) RGB, or None if it is damaged."""


class Device(Protocol):
    """A camera or stream that is open."""

    finite: bool
    """A film from a server: where it ends, it ends."""
    damage: Damage

    def frames(self) -> Iterator[Picture]:
        """The frames, until the device gives no more."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class CameraSource(FrameSource):
    """Live frames of a local camera or of a network stream. Timestamps are times of arrival.

    A damaged frame is counted and passed over. A stream that breaks off is connected again; how it ended stands in
    `ended`, and damage and the end of a stream that was to go on are noted in `skipped`. One iteration at a time.

    Args:
        device: 0 for the first camera, 1 and so on, ``/dev/video0``, or a URL such as ``rtsp://host/stream``.
        max_frames: stop after so many frames; None to go on until `close` or the end of the stream.
        every: take every n-th frame.
        fps: take about so many frames per second instead.
        open_timeout: seconds to wait for a stream to answer; local cameras do not use it.
        read_timeout: seconds to wait for each frame.
        reconnects: attempts to connect again. A connection that lasts longer than `read_timeout` sets the count back.

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
        reconnects: int = 5,
    ):
        super().__init__()
        FrameSelector(every, fps)
        if (max_frames is not None and max_frames < 1) or not min(open_timeout, read_timeout) > 0 or reconnects < 0:
            raise ValueError(
                f"max_frames and timeouts must be positive and reconnects not negative: "
                f"{max_frames}, {open_timeout}, {read_timeout}, {reconnects}"
            )
        self.device, self.max_frames, self.every, self.fps = str(device), max_frames, every, fps
        self.open_timeout, self.read_timeout, self.reconnects = open_timeout, read_timeout, reconnects
        # what may be shown: without the user and password of a URL
        self.name = f"camera {device}" if self.device.isdigit() else re.sub(r"://[^/]*@", "://", self.device)
        self._open_device: Device | None = None
        self._closed = self._gave_out = False
        self._damaged = 0

    def validate(self) -> None:
        """Open the camera, which then stays open for the iteration. Raises SourceError if that fails."""
        if self._open_device is None:
            self._open_device = self._open()

    def __iter__(self) -> Iterator[Frame]:
        self._closed, self._damaged, self.ended = False, 0, None
        selector, number, taken, first = FrameSelector(self.every, self.fps), -1, 0, 0.0
        pictures = self._pictures()
        try:
            for number, picture in enumerate(pictures):
                now = time.monotonic()
                first = now if number == 0 else first
                if not selector.wants(number, now - first):
                    continue
                image = picture()
                if image is None:
                    self._damaged += 1
                    continue
                taken += 1
                yield Frame(image, number, now - first, f"{self.name}:{number}")
                if taken == self.max_frames:
                    self.ended = f"the {taken} frames that were asked for were taken"
                    break
        finally:
            pictures.close()
        self._note_end(number + 1)

    def _note_end(self, frames: int) -> None:
        if self._damaged:
            self.skipped.append((self.name, f"{self._damaged} of {frames + self._damaged} frames damaged and left out"))
        if self._gave_out:
            if not frames:
                raise SourceError(f"{self.name} opened but gave no frame within {self.read_timeout:g} s")
            self.skipped.append((self.name, f"the stream ended after {frames} frames: {self.ended}"))

    def close(self) -> None:
        """Ask a running iteration to stop after the frame it waits for; it releases the camera itself."""
        self._closed = True
        device, self._open_device = self._open_device, None
        if device is not None:
            device.close()

    def _pictures(self) -> Generator[Picture, None, None]:
        """Frames of one connection after the other, to the end; then `ended` says which end that was."""
        attempts, self._gave_out = 0, False
        self.validate()
        while not self._closed:
            device, self._open_device = self._open_device, None
            assert device is not None
            began, count = time.monotonic(), 0
            try:
                for picture in device.frames():
                    if self._closed:
                        break
                    count += 1
                    yield picture
            finally:
                self._damaged += device.damage.count
                device.close()
            if device.finite:
                self.ended, self._gave_out = "the server's film is over", True
                return
            attempts = 1 if count and time.monotonic() - began > self.read_timeout else attempts + 1
            if not self._connect_again(attempts):
                return

    def _connect_again(self, attempt: int) -> bool:
        while attempt <= self.reconnects and not self._closed:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
            logger.warning(
                "%s broke off; connecting again in %g s (%d of %d)", self.name, wait, attempt, self.reconnects
            )
            deadline = time.monotonic() + wait
            while time.monotonic() < deadline and not self._closed:
                time.sleep(0.05)
            try:
                self.validate()
                return True
            except SourceError:
                attempt += 1
        self._gave_out = not self._closed
        self.ended = (
            "it was closed" if self._closed else f"it broke off, {self.reconnects} attempts to reconnect failed"
        )
        return False

    def _open(self) -> Device:
        if "://" not in self.device:
            return _LocalCamera(self.device, self.name, self.read_timeout)
        try:
            return _Stream(self.device, self.open_timeout, self.read_timeout)
        except VideoOpenError as error:
            hint = f"no video within {self.open_timeout:g} s; check the address, the password and the network"
            raise SourceError(f"cannot open {self.name}: {hint} ({error})") from error


class _Stream:
    """A network stream, decoded by FFmpeg."""

    def __init__(self, url: str, open_timeout: float, read_timeout: float):
        self._video = open_stream(url, open_timeout, read_timeout)
        self.finite = self._video.stated_frames is not None or self._video.seconds is not None
        self.damage = self._video.damage

    def frames(self) -> Iterator[Picture]:
        for frame in self._video:
            yield frame.to_rgb

    def close(self) -> None:
        self._video.close()


class _LocalCamera:
    """A camera of this machine, by OpenCV, which knows the capture interfaces of every system.

    Raises:
        SourceError: there is none of that name.
    """

    finite = False

    def __init__(self, device: str, name: str, patience: float):
        import cv2

        self._capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
        self._patience = patience
        self.damage = Damage()
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"cannot open {name}: no such camera, no permission, or another program uses it")

    def frames(self) -> Iterator[Picture]:
        last, number, failed = time.monotonic(), 0, 0
        while time.monotonic() - last < self._patience:
            if not self._capture.grab():  # a bad frame, or the camera is gone: that shows when none follows
                failed += 1
                time.sleep(0.02)
                continue
            for _ in range(failed):
                self.damage.add(number)
            last, number, failed = time.monotonic(), number + 1, 0
            yield self._retrieve

    def _retrieve(self) -> NDArray[np.uint8] | None:
        decoded, image = self._capture.retrieve()
        if not decoded or image is None:
            return None
        rgb = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., ::-1]  # OpenCV orders colours BGR
        return np.ascontiguousarray(rgb, np.uint8)

    def close(self) -> None:
        self._capture.release()
