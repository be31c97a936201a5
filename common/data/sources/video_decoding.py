"""Decoding video with FFmpeg (PyAV): every frame that can be decoded, and a count of those that cannot.

A packet that does not decode costs its own frame and no other: decoding goes on with the next packet until the file
really ends. OpenCV's reader takes the first bad packet for the end: of an 80-frame H.264 file whose packets 10, 30 and
50 are damaged it gives 10 frames, this one 77.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_FALLBACK_FPS = 30.0
"""Frame rate of videos that do not state one."""
_MAX_PIXEL_ASPECT = 4.0
"""Anamorphic video goes to about 2.4 (NTSC wide screen is 1.2); more is a damaged header."""
_MAX_ERRORS = 1000
"""So many reading errors in a row, without a packet between them, are the end."""
_NAMED = 10
_LATE = 64
"""A frame that was given up may turn up after so many others: more than any codec reorders."""


class VideoOpenError(Exception):
    """The file or stream cannot be opened as video. The message is FFmpeg's reason."""


@dataclass(frozen=True)
class DecodedFrame:
    """One frame as the decoder gives it; pixels are converted when they are asked for."""

    number: int
    """In the whole file from 0, damaged frames included."""
    seconds: float | None
    """Since the beginning of the video; None where the file states no time."""
    picture: Any
    """`av.VideoFrame`."""
    pixel_aspect: float
    """Width by height of a pixel."""

    def to_rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB, upright and with square pixels."""
        width, height = self.picture.width, self.picture.height
        if self.pixel_aspect > 1:
            width = round(width * self.pixel_aspect)
        elif self.pixel_aspect < 1:
            height = round(height / self.pixel_aspect)
        image = self.picture.to_ndarray(format="rgb24", width=width, height=height)
        turns = round(self.picture.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


@dataclass
class Damage:
    """The frames that could not be decoded."""

    count: int = 0
    first: list[int] = field(default_factory=list)
    """Numbers of the first few."""

    def add(self, number: int) -> None:
        """Count a frame."""
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(number)

    def describe(self, frames: int) -> str:
        """A line for the user; `frames` is the number of all frames."""
        numbers = ", ".join(map(str, self.first)) + (", ..." if self.count > len(self.first) else "")
        return f"{self.count} of {frames} frames damaged and left out (number {numbers})"


class VideoDecoder:
    """Iterates once over the frames of an open file or stream; a context manager.

    Attributes:
        stated_frames: what the index of the container counts (MP4, MOV, AVI); None where it has no such index.
        fps: frames per second, on average.
        seconds: length that the container states, or None.
        seen: number of frames so far, damaged ones included.
        damage: frames that could not be decoded.
    """

    def __init__(self, container: Any, file: IO[bytes] | None = None, frame_threads: bool = True):
        self._container, self._file = container, file
        if not container.streams.video:
            self.close()
            raise VideoOpenError("it has no video track")
        stream = self._stream = container.streams.video[0]
        if stream.codec_context is None:
            self.close()
            raise VideoOpenError("no decoder for its codec")
        stream.thread_type = "AUTO" if frame_threads else "SLICE"
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        self.fps = rate if 0 < rate < 1e4 else _FALLBACK_FPS
        self.stated_frames = stream.frames if 0 < stream.frames < 1e9 else None
        self.seconds = _stated_seconds(container, stream)
        self.pixel_aspect = _pixel_aspect(stream)
        self.seen = 0
        self.damage = Damage()
        self._waiting: list[int] = []
        """Presentation times of packets that have given no frame yet."""
        self._lost: deque[int] = deque(maxlen=_LATE)
        self._start: int | None = stream.start_time

    def __enter__(self) -> VideoDecoder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        self._container.close()
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[DecodedFrame]:
        for packet in self._packets():
            is_frame = packet.size > 0 and not packet.is_discard
            if is_frame and packet.pts is not None:
                heapq.heappush(self._waiting, packet.pts)
            try:
                pictures = self._stream.codec_context.decode(packet if packet.size else None)
            except _av().error.FFmpegError:
                if is_frame and packet.pts is None:
                    self._lose()
                continue
            for picture in pictures:
                if picture.pts is None or picture.pts not in self._lost:  # else it comes after its successors
                    yield self._numbered(picture)
        while self._waiting:
            self._lose(heapq.heappop(self._waiting))

    def _packets(self) -> Iterator[Any]:
        """All packets; a damaged stretch is passed over. The last one is empty and flushes the decoder."""
        errors, error = 0, _av().error
        while errors < _MAX_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    yield packet
                    errors = 0
                return
            except (error.EOFError, error.ConnectionResetError, error.TimeoutError, error.ExitError):
                return
            except error.FFmpegError:
                errors += 1

    def _numbered(self, picture: Any) -> DecodedFrame:
        """Give a frame its number. Frames come in the order of their times: what was due before it is lost."""
        if picture.pts is not None:
            while self._waiting and self._waiting[0] < picture.pts:
                self._lose(heapq.heappop(self._waiting))
            if self._waiting and self._waiting[0] == picture.pts:
                heapq.heappop(self._waiting)
        seconds = None
        if picture.pts is not None and self._stream.time_base is not None:
            self._start = picture.pts if self._start is None else self._start
            seconds = float((picture.pts - self._start) * self._stream.time_base)
        frame = DecodedFrame(self.seen, seconds, picture, self.pixel_aspect)
        self.seen += 1
        return frame

    def _lose(self, time: int | None = None) -> None:
        if time is not None:
            self._lost.append(time)
        self.damage.add(self.seen)
        self.seen += 1


def open_video(path: Path) -> VideoDecoder:
    """Open a video file.

    FFmpeg gets the bytes and no name: a name with ``:`` is no protocol, one with ``%d`` no pattern, and a playlist in
    the guise of a video cannot make it open other files or addresses.

    Raises:
        VideoOpenError: not a video, or damaged beyond use.
        OSError: the file cannot be read.
    """
    file = path.open("rb")
    try:
        return VideoDecoder(_open(file, {"protocol_whitelist": "none"}, None), file)
    except BaseException:
        file.close()
        raise


def open_stream(url: str, open_timeout: float, read_timeout: float) -> VideoDecoder:
    """Open a network stream; `read_timeout` seconds without data end it.

    Raises:
        VideoOpenError: no answer within `open_timeout` seconds, or no video.
    """
    options = {"rtsp_transport": "tcp"} if url.lower().startswith("rtsp") else {}
    return VideoDecoder(_open(url, options, (open_timeout, read_timeout)), frame_threads=False)


def _av() -> Any:
    """FFmpeg's bindings, loaded when the first video is opened: no help page waits for them."""
    import av

    return av


def _open(what: str | IO[bytes], options: Mapping[str, str], timeout: tuple[float, float] | None) -> Any:
    try:
        return _av().open(what, options=dict(options), timeout=timeout)
    except (_av().error.FFmpegError, OSError) as error:
        raise VideoOpenError(error.strerror or type(error).__name__) from error


def _stated_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None:
        return None
    start = stream.start_time * stream.time_base if stream.start_time is not None else 0
    return max(0.0, float(container.duration / _av().time_base - start))


def _pixel_aspect(stream: Any) -> float:
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if math.isfinite(aspect) and 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT else 1.0
