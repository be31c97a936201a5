"""Frames from video files, and which of them to take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from common.data.sources.frame_source import Frame, FrameSource, SourceError
from common.data.sources.video_decoding import DecodedFrame, VideoDecoder, VideoOpenError, open_video
from common.paths import user_path

_TIME_SLACK = 5e-4
"""Seconds; containers round times to milliseconds or worse."""
_FALLBACK_FPS = 30.0
"""Frame rate of cameras, which state none."""


class FrameSelector:
    """Chooses frames of one pass over a video: every n-th, or about `fps` per second. The first frame is always taken.

    Where the n-th frame is damaged, the next good one takes its place. With `fps`, the frames nearest to the wanted
    times are taken, also when the rate of the video varies about `native_fps`; a video slower than `fps` is taken
    whole.

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
            passed_frames = number - self._first[0]
            if passed_frames < self._due:
                return False
            self._due = (passed_frames // self.every + 1) * self.every
            return True
        passed = (seconds - self._first[1]) * self.fps + self._early
        if passed < self._due:
            return False
        self._due = math.floor(passed) + 1
        return True


class VideoSource(FrameSource):
    """Frames of a video file, with the times of the container; upright, and with square pixels.

    Damaged frames are passed over, counted and noted in `skipped`: reading ends where the file does.

    Args:
        path: the file, in any format that FFmpeg decodes.
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
        if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
            raise ValueError(f"need 0 <= start < end, got start={start} and end={end}")
        self.path = user_path(path)
        self.every, self.fps, self.start, self.end, self.min_frames = every, fps, start, end, min_frames
        with self._open() as video:
            self.native_fps, self.stated_frames, self.stated_seconds = video.fps, video.stated_frames, video.seconds
        if self.stated_seconds is not None and start > self.stated_seconds:
            raise SourceError(f"video {self.path} lasts {self.stated_seconds:.1f} s, less than {start=}")

    @property
    def length(self) -> int | None:
        """Estimate from what the container states; too high where the frame rate varies."""
        if self.stated_seconds is None:
            return None
        seconds = max(0.0, min(self.end or math.inf, self.stated_seconds) - self.start)
        rate = self.native_fps / self.every if self.fps is None else min(self.fps, self.native_fps)
        return math.ceil(seconds * rate - 1e-6)

    def validate(self) -> None:
        """Decode the first two frames that can be decoded; raises SourceError if there are fewer."""
        needed = min(2, self.min_frames)
        with self._open() as video:
            decoded = sum(1 for _ in islice(video, needed))
        if decoded < needed:
            raise SourceError(
                f"video {self.path}: {decoded} of its frames can be decoded, {needed} are needed at least"
            )

    def __iter__(self) -> Iterator[Frame]:
        selector, taken, seconds = FrameSelector(self.every, self.fps, self.native_fps), 0, 0.0
        with self._open() as video:
            for decoded, seconds in self._timed(video):
                if self.end is not None and seconds >= self.end - _TIME_SLACK:
                    break
                if seconds < self.start - _TIME_SLACK or not selector.wants(decoded.number, seconds):
                    continue
                taken += 1
                yield Frame(decoded.to_rgb(), decoded.number, seconds, f"{self.path.name}:{decoded.number}")
            else:
                self._note_missing(video.seen, seconds)
            if video.damage.count:
                self._skip(self.path.name, video.damage.describe(video.seen))
        self._require(taken)

    def _timed(self, video: VideoDecoder) -> Iterator[tuple[DecodedFrame, float]]:
        """Frames with times that increase: some containers state none, or times that stand still or jump back."""
        before = -math.inf
        for decoded in video:
            stated = decoded.number / self.native_fps if decoded.seconds is None else decoded.seconds
            before = stated if stated > before else before + 1 / self.native_fps
            yield decoded, before

    def _note_missing(self, seen: int, last: float) -> None:
        """Note a file that was cut, by its index of frames; a duration alone proves nothing and is not believed."""
        if self.stated_frames is None:
            return
        reached = max(seen, round(last * self.native_fps) + 1)  # an AVI counts frames that repeat the one before
        if reached < self.stated_frames - max(2, self.stated_frames // 50):
            share = reached / self.stated_frames
            self._skip(str(self.path), f"the file was cut: {share:.0%} of the {self.stated_frames} frames it states")

    def _skip(self, name: str, reason: str) -> None:
        if (name, reason) not in self.skipped:
            self.skipped.append((name, reason))

    def _require(self, count: int) -> None:
        if count < self.min_frames:
            part = f" between {self.start:g} s and {'its end' if self.end is None else f'{self.end:g} s'}"
            raise SourceError(f"video {self.path}: {count} frame(s){part}, at least {self.min_frames} are needed")

    def _open(self) -> VideoDecoder:
        if not self.path.exists():
            raise SourceError(f"video {self.path} does not exist")
        if self.path.is_dir():
            raise SourceError(f"{self.path} is a folder, not a video; for a folder of images use source=folder")
        if not self.path.is_file():
            raise SourceError(f"video {self.path} is a pipe or a device, not a file")
        try:
            return open_video(self.path)
        except (VideoOpenError, OSError) as error:
            raise SourceError(f"{self.path} is not a video, is damaged, or has an unknown codec: {error}") from error
