"""Frames in portions: what a step needs in between does not grow with the sequence, and cores share the portions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

_FRAMES = 16


class Frames(Protocol):
    """Values of N frames, such as a tensor (N, ...)."""

    def __getitem__(self, part: slice, /) -> Any:
        """Those of some of them."""


Item = TypeVar("Item")
Result = TypeVar("Result")


def frame_chunks(count: int) -> list[slice]:
    """Slices of a few frames each that cover `count` frames."""
    return [slice(start, min(start + _FRAMES, count)) for start in range(0, count, _FRAMES)]


def map_frames(function: Callable[..., Tensor], first: Tensor, *others: Frames) -> Tensor:
    """`function` of a tensor (N, ...), N > 0, and more values of the frames, computed for a few frames at a time."""

    def compute(part: slice) -> Tensor:
        return function(first[part], *(values[part] for values in others))

    return torch.cat(list(in_parallel(compute, frame_chunks(len(first)), first.device)))


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> Iterator[Result]:
    """Results in the order of the items, computed on as many cores as torch may use (`torch.get_num_threads`).

    Each core works on items of its own, one thread for each operation: the operations are too short to be shared out
    among cores, and would wait for each other on a busy machine. The results do not depend on the number of threads.
    On a GPU the items run one after the other. Gradients are not recorded.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(items)) if device.type == "cpu" else 1
    compute = torch.no_grad()(function)
    if workers <= 1:
        yield from map(compute, items)
        return
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(compute, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the initializer has lowered what threads to come start with
