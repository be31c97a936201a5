"""Reading ahead: a thread decodes and prepares frames while the consumer computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Generic, TypeVar

from common.data.sources.frame_source import Frame
from common.data.sources.preprocess import Preprocessed, preprocess

T = TypeVar("T")


class Prefetcher(Iterator[T], Generic[T]):
    """Iterates over prepare(frame) for all frames, in order, up to `capacity` items ahead.

    An exception of the frames or of `prepare` is raised here, after the items before it. Use it in a `with` statement,
    so that the thread stops when the consumer does.

    Args:
        frames: a source, or any iterable. It is iterated, and its generator closed, in the thread.
        prepare: called in the thread, once for each frame.
        capacity: how many prepared items may wait.
        drop_oldest: for live sources. When `capacity` items wait, a new one takes the place of the oldest (counted in
            `dropped`), so that the consumer never falls behind; otherwise the thread waits.

    Raises:
        ValueError: `capacity` below 1.
    """

    def __init__(
        self, frames: Iterable[Frame], prepare: Callable[[Frame], T], capacity: int = 8, drop_oldest: bool = False
    ):
        if capacity < 1:
            raise ValueError(f"capacity must be 1 or more, got {capacity}")
        self.dropped = 0
        self._frames, self._prepare, self._capacity, self._drop_oldest = frames, prepare, capacity, drop_oldest
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ended = self._stopped = False
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._stopped)
            if self._waiting and not self._stopped:
                self._changed.notify_all()
                return self._waiting.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self, timeout: float | None = 30.0) -> None:
        """Stop the thread, after the frame it is at, and drop what waits. May be called twice.

        Args:
            timeout: seconds to wait for the thread, which may be waiting for a camera itself.
        """
        with self._changed:
            self._stopped, self._error = True, None
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout)

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            frames = iter(self._frames)
            try:
                for frame in frames:
                    if self._stopped or not self._offer(self._prepare(frame)):
                        break
            finally:
                getattr(frames, "close", lambda: None)()
        except BaseException as caught:  # whatever it is, it belongs to the consumer
            error = caught
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _offer(self, item: T) -> bool:
        """Add an item, waiting for room if need be; False if there is no consumer any more."""
        with self._changed:
            if self._drop_oldest and len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: self._stopped or len(self._waiting) < self._capacity)
            if not self._stopped:
                self._waiting.append(item)
                self._changed.notify_all()
            return not self._stopped


def prefetch(
    source: Iterable[Frame], size: tuple[int, int] = (224, 224), capacity: int = 8, drop_oldest: bool = False
) -> Prefetcher[tuple[Frame, Preprocessed]]:
    """Frames of a source together with their network images of `size` (height, width), read ahead in a thread."""
    return Prefetcher(source, partial(_with_preprocessed, size=size), capacity, drop_oldest)


def _with_preprocessed(frame: Frame, size: tuple[int, int]) -> tuple[Frame, Preprocessed]:
    return frame, preprocess(frame.image, size)
