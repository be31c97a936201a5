"""From a source of frames to registered frames: decode ahead in a thread, push in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch

from common.data.sources.image_files import Frame
from common.data.sources.preprocess import Preprocessed
from slam3r.reconstruction import Reconstructor, RegisteredFrame

Prepared = tuple[Frame, Preprocessed]


def stream(
    frames: Iterable[Prepared],
    reconstructor: Reconstructor,
    batch: int = 10,
    on_read: Callable[[Frame, Preprocessed], None] | None = None,
) -> Iterator[RegisteredFrame]:
    """Push all frames of a source and yield what comes out, to the end.

    Args:
        frames: usually from `common.data.sources.prefetch.prefetch`.
        reconstructor: new; it is at its end afterwards.
        batch: frames pushed at once.
        on_read: is told of every frame before it is pushed, in the order of `RegisteredFrame.index`.

    Raises:
        InputError: from the source, or `SequenceTooShort` at the end.
    """
    iterator = iter(frames)
    while True:
        with reconstructor.timer("waiting for frames"):
            items = list(islice(iterator, batch))
        if not items:
            break
        for frame, prepared in items:
            if on_read is not None:
                on_read(frame, prepared)
        yield from reconstructor.push(
            torch.stack([prepared.image for _, prepared in items]),
            [frame.timestamp for frame, _ in items],
            [frame.name for frame, _ in items],
        )
    yield from reconstructor.drain()
