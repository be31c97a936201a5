"""Frame selection of training windows: pure functions that take the random generator as an argument."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAX_STRETCH = 3
"""A window whose frame numbers span this many times the nominal span, or more, has a gap and is dropped."""


def consecutive_windows(
    frame_numbers: Sequence[int] | np.ndarray, views: int, stride: int = 1, number_step: int = 1
) -> np.ndarray:
    """All windows of `views` frames, every `stride`-th of a sequence, one window for each start, without gaps.

    A window spans (views - 1) * stride frames, nominally that times `number_step` in frame numbers. Where frames are
    missing the span is larger; from three times the nominal on, the window is dropped (the published ScanNet++ rule).

    Args:
        frame_numbers: numbers of the frames of one sequence, increasing.
        views: frames in a window (I2P 11, L2W 13).
        stride: distance in frames (ScanNet++ 3; Aria 2 in training, 1 in validation).
        number_step: by how much numbers advance from frame to frame (ScanNet++ iPhone 10, DSLR 1).

    Returns:
        (windows, views) int64 positions in `frame_numbers`; no rows if the sequence is too short.

    Raises:
        ValueError: views, stride or number_step below 1.
    """
    if min(views, stride, number_step) < 1:
        raise ValueError(f"views, stride and number_step must be positive, got {views}, {stride}, {number_step}")
    numbers = np.asarray(frame_numbers, dtype=np.int64)
    span = (views - 1) * stride
    starts = np.arange(max(0, len(numbers) - span), dtype=np.int64)
    complete = numbers[starts + span] - numbers[starts] < MAX_STRETCH * max(span * number_step, 1)
    return starts[complete, None] + np.arange(views) * stride


def random_window(frame_count: int, views: int, stride: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """A window at a random place with a random stride: two numbers are drawn, the stride and the start.

    Args:
        frame_count: frames of the sequence, at least `views`.
        views: frames in the window.
        stride: range [min, max]; the largest that fits where the sequence is too short for it.
        generator: source of both.

    Returns:
        (views,) int64 positions, increasing.
    """
    longest = (frame_count - 1) // max(1, views - 1)
    low, high = (min(limit, longest) for limit in stride)
    step = int(generator.integers(low, high + 1))
    start = int(generator.integers(frame_count - (views - 1) * step))
    return start + np.arange(views, dtype=np.int64) * step


def orbit_window(
    index: int,
    views: int,
    generator: np.random.Generator,
    frame_count: int | None = None,
    span: int = 50,
    windows_per_start: int = 3,
) -> np.ndarray:
    """Window number `index` of a camera path around an object (CO3D): `views` frames of an arc of `span` frames.

    Each start has `windows_per_start` windows. The first is evenly spaced and draws nothing; the others have both ends
    of the arc and, between them, different frames drawn by one `generator.choice`, sorted. The start is
    max(0, index // windows_per_start - 1), so start 0 comes twice, as published.

    Args:
        index: window number, from 0; `orbit_window_count` says how many there are.
        views: frames in the window, at least 2 and at most `span` + 1.
        generator: source of the random windows.
        frame_count: frames of the whole orbit; larger numbers wrap around. None leaves them as they are.
        span: length of the arc in frames (half an orbit of 100).

    Returns:
        (views,) int64 frame numbers.

    Raises:
        ValueError: `index` is negative or `views` does not fit into the arc.
    """
    if index < 0 or not 2 <= views <= span + 1:
        raise ValueError(f"no window {index} of {views} views in an arc of {span} frames")
    start = max(0, index // windows_per_start - 1)
    if index % windows_per_start == 0:
        offsets = np.linspace(0, span, views).round().astype(np.int64)
    else:
        inner = generator.choice(np.arange(1, span), views - 2, replace=False)
        offsets = np.concatenate(([0], np.sort(inner), [span]))
    frames = start + offsets
    return frames if frame_count is None else frames % frame_count


def orbit_window_count(frame_count: int, windows_per_start: int = 3) -> int:
    """Number of windows of an orbit: `windows_per_start` for each frame."""
    return frame_count * windows_per_start
