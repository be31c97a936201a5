"""Seconds, memory, and the peak of matrix products on this machine."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from common.device import synchronize
from common.meters import MemoryMeter


@dataclass(frozen=True)
class Measurement:
    """Repeated runs of one function."""

    seconds: float
    """Median."""
    best_seconds: float
    repeats: int
    peak_memory: int
    """Bytes: on the GPU where there is one, else resident in the process, weights and libraries included."""
    all_seconds: tuple[float, ...] = ()
    """Seconds of every run, in order."""
    peaks: tuple[float, ...] = ()
    """FLOP per second of matrix products directly before every run, where they were measured."""

    def shares_of_peak(self, flops: int) -> list[float]:
        """Share of the peak that every run of so many operations achieved, of the peak measured directly before it."""
        return [flops / seconds / peak for seconds, peak in zip(self.all_seconds, self.peaks)]


def measure(
    function: Callable[[], object],
    device: torch.device,
    repeats: int = 3,
    warm_up: int = 1,
    least_seconds: float = 0.0,
    peak: Callable[[], float] | None = None,
) -> Measurement:
    """Run a function repeatedly and report the median.

    A shared machine changes its speed by three within minutes, so rates compare only if they are measured in turn: with
    ``peak``, before every run.

    Args:
        function: what to run; its result is dropped.
        device: synchronized at both ends of every run.
        repeats: timed runs, at least.
        warm_up: runs before them, which fill caches and choose kernels.
        least_seconds: repeat until this many seconds are measured; short functions need many runs.
        peak: measures FLOP per second of matrix products, such as `ProductProbe`.
    """
    meter = MemoryMeter(device)
    for _ in range(warm_up):
        function()
    seconds: list[float] = []
    peaks: list[float] = []
    while len(seconds) < repeats or sum(seconds) < least_seconds:
        if peak is not None:
            peaks.append(peak())
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    memory = peak_bytes(meter)
    return Measurement(statistics.median(seconds), min(seconds), len(seconds), memory, tuple(seconds), tuple(peaks))


def peak_bytes(meter: MemoryMeter) -> int:
    """Peak memory of the GPU if there is one, else of the process."""
    peak = meter.peak()
    return peak.device or peak.process


PRODUCT_SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (1960, 4096, 1024), (1960, 768, 3072), (4096, 1024, 4096))
"""(rows, inner, columns): squares, and products that occur in the networks."""
GPU_PRODUCT_SHAPES = ((8192, 8192, 8192), (16384, 4096, 4096))
"""Smaller ones do not fill a GPU."""
SMALL_PRODUCT_SHAPES = ((256, 256, 256),)
"""For a quick look; not a peak."""


@dataclass(frozen=True)
class ProductPeak:
    """The fastest matrix product."""

    flops: float
    """Per second."""
    shape: tuple[int, int, int]
    by_shape: dict[str, float]
    """All that were tried, FLOP per second."""


@torch.inference_mode()
def product_peak(
    dtype: torch.dtype,
    device: torch.device,
    shapes: Sequence[tuple[int, int, int]] = PRODUCT_SHAPES,
    least_seconds: float = 0.5,
) -> ProductPeak:
    """Measure the peak of matrix products: the best run of the best shape.

    Args:
        dtype: of both factors.
        device: where to multiply.
        shapes: (rows, inner, columns) to try.
        least_seconds: spent on each shape.
    """
    found: dict[tuple[int, int, int], float] = {}
    for shape in shapes:
        run = measure(ProductProbe(dtype, device, shape).multiply, device, 5, warm_up=2, least_seconds=least_seconds)
        found[shape] = 2 * math.prod(shape) / run.best_seconds
    best = max(found, key=lambda shape: found[shape])
    return ProductPeak(found[best], best, {"x".join(map(str, shape)): flops for shape, flops in found.items()})


class ProductProbe:
    """Measures matrix products of one shape again and again."""

    def __init__(self, dtype: torch.dtype, device: torch.device, shape: tuple[int, int, int], runs: int = 3) -> None:
        """
        Args:
            dtype: of both factors.
            device: where to multiply.
            shape: (rows, inner, columns), such as the best one of `product_peak`.
            runs: products of a measurement; the fastest counts.
        """
        rows, inner, columns = shape
        self._left = torch.randn(rows, inner, device=device).to(dtype)
        self._right = torch.randn(columns, inner, device=device).to(dtype)
        self._device, self._runs, self._flops = device, runs, 2 * math.prod(shape)

    @torch.inference_mode()
    def multiply(self) -> torch.Tensor:
        """One product."""
        return torch.nn.functional.linear(self._left, self._right)

    def __call__(self) -> float:
        """FLOP per second at this moment."""
        return self._flops / measure(self.multiply, self._device, self._runs).best_seconds
