"""Speed at which one core reads training windows, and where the time goes.

Times are CPU times, not wall-clock times, so that other programs disturb them little. Files are read from the
system's cache after the first round; a disk that is slower than the decoder shows as a difference to the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from unittest.mock import patch

import cv2
import torch

from common.data.scenes import augment, dataset, scene_folder
from common.data.scenes.datamodule import collate
from common.data.scenes.mixture import EpochDataset

_ROUNDS = 3


@dataclass
class Throughput:
    """Speed of one core."""

    windows: int
    """Windows of a round."""
    frames: int
    """Frames of a round."""
    seconds: float
    """Processor time of the fastest round."""
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds of it by part; "the rest" is what is in none."""

    def describe(self) -> str:
        """Rates, and the share of each part, the largest first."""
        shares = sorted(self.parts.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{name} {100 * seconds / self.seconds:.0f} %" for name, seconds in shares)
        return (
            f"{self.windows / self.seconds:.1f} windows/s, {self.frames / self.seconds:.1f} frames/s per core; "
            f"{1000 * self.seconds / self.windows:.2f} ms per window: {listed}"
        )


def measure(data: EpochDataset, windows: int = 100, batch_size: int = 4) -> Throughput:
    """Read windows one after the other in this process, and batch them.

    Args:
        data: data set whose first items are read three times; the fastest round counts.
        windows: items of a round; as many as there are, if fewer.
        batch_size: windows that are collated together.
    """
    windows = min(windows, len(data))
    results = []
    with one_thread():
        for _ in range(_ROUNDS):
            clock = _Clock()
            with clock.watching(_parts()):
                begin = time.process_time()
                frames = _read(data, windows, batch_size, clock)
                seconds = time.process_time() - begin
            clock.parts["the rest"] = seconds - sum(clock.parts.values())
            results.append(Throughput(windows, frames, seconds, clock.parts))
    return min(results, key=lambda result: result.seconds)


def _read(data: EpochDataset, windows: int, batch_size: int, clock: _Clock) -> int:
    together = clock.timed("collate", collate)
    frames = 0
    batch = []
    for index in range(windows):
        batch.append(data[index])
        frames += len(batch[-1].images)
        if len(batch) == batch_size:
            together(batch)
            batch = []
    return frames


def _parts() -> Sequence[tuple[object, str, str]]:
    """(owner, name, part) of the functions that make up a window."""
    return (
        (scene_folder, "read_pixels", "decode"),
        (dataset, "training_crop", "crop and resize"),
        (dataset, "middle_crop", "crop and resize"),
        (augment.ColorJitter, "__call__", "jitter"),
        (dataset, "images_to_tensor", "to floats"),
    )


class _Clock:
    """Sums up the processor time of functions while it watches them."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    def timed(self, part: str, function: Callable) -> Callable:
        @wraps(function)
        def measured(*args, **kwargs):
            begin = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.parts[part] = self.parts.get(part, 0.0) + time.process_time() - begin

        return measured

    @contextmanager
    def watching(self, functions: Sequence[tuple[object, str, str]]) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, part in functions:
                stack.enter_context(patch.object(owner, name, self.timed(part, getattr(owner, name))))
            yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch and OpenCV work with one thread, as in the loader's worker processes."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
