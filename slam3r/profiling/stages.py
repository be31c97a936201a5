"""Speed of the two networks and the reconstruction on this machine, and the accuracy cost of bfloat16."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from common.backbone import PatchGrid
from common.backbone.precision import set_compute_dtype
from common.meters import MemoryMeter, resident_memory
from common.profiling.flops import decoder_flops, encoder_flops
from common.profiling.report import SpeedRow
from common.profiling.timing import Measurement, measure, peak_bytes
from common.views import Pointmaps
from slam3r.models.image_to_points import CORRELATION_LAYERS
from slam3r.profiling.settings import Workload
from slam3r.reconstruction import Networks, ReconstructionSettings, Reconstructor

# Seconds of the published SLAM3R code at the large size, in float32 with random weights, measured once on two CPU cores
# of the kind on which this project is developed. For orientation only: not measured in the same session.
PUBLISHED_SECONDS = {
    "encode": 0.97,  # one frame
    "i2p window": 4.8,  # 11 views, all pointmaps; the pipeline reads the reference's only
    "retrieval": 3.2,  # 40 candidates; by its operations, for one query
    "l2w": 25.5,  # 10 references, 10 sources
    "pipeline": 238.0,  # 40 frames, stride 5, radius 5, 10 scene frames, 10 per round
}


QUICK = Workload(
    image_size=64,
    encode_batches=(1, 2),
    window=3,
    candidates=4,
    queries=(2,),
    references=2,
    sources=2,
    frames=14,
    stride=2,
    flat_at=(14, 20),
    flat_span=4,
    buffer_sizes=(4,),
    repeats=1,
)
"""Runs everything once; measures nothing of interest."""


def synthetic_frames(first: int, count: int, size: int) -> Tensor:
    """(count, 3, size, size) frames first, first + 1, .. of an endless drifting pattern, in [-1, 1]."""
    axis = torch.linspace(0, 6, size)
    shift = torch.arange(first, first + count)[:, None, None, None] * 0.05
    phase = torch.arange(3)[None, :, None, None] * 2.0
    return torch.sin(2.7 * axis[None, None, :, None] + shift + phase) * torch.cos(3.1 * axis + 2 * shift)


class SpeedBenchmark:
    """The stages for one model in one dtype. Every stage yields its rows."""

    def __init__(
        self, name: str, networks: Networks, dtype: torch.dtype, peak: Callable[[], float] | None, work: Workload
    ) -> None:
        """
        Args:
            name: of the model size.
            networks: in ``dtype`` already.
            dtype: of their matrix products.
            peak: measures FLOP per second of matrix products in that dtype, before every run; None leaves the shares
                out.
            work: how much to run.
        """
        self.name, self.networks, self.peak, self.work = name, networks, peak, work
        self.dtype = str(dtype).removeprefix("torch.")
        self.device = networks.device
        comparable = replace(work, repeats=Workload.repeats) == Workload()
        self._published = PUBLISHED_SECONDS if comparable and (name, self.dtype) == ("large", "float32") else {}
        width = networks.image_to_points.token_width
        patches = work.image_size // networks.image_to_points.config.patch_size
        self._grid = PatchGrid(patches, patches)
        views = max(work.candidates + max(work.queries), work.references + work.sources, 4 * work.window)
        generator = torch.Generator().manual_seed(0)
        self._tokens = torch.randn(views, self._grid.num_tokens, width, generator=generator).to(self.device)

    def stages(self) -> dict[str, Callable[[], Iterator[SpeedRow]]]:
        """Stage -> its rows."""
        return {
            "encode": self.encode,
            "i2p": self.image_to_points,
            "retrieval": self.retrieval,
            "l2w": self.local_to_world,
            "pipeline": self.pipeline,
            "flatness": self.flatness,
        }

    def encode(self) -> Iterator[SpeedRow]:
        """Seconds per frame, in batches."""
        for batch in self.work.encode_batches:
            images = synthetic_frames(0, batch, self.work.image_size).to(self.device)
            run = self._measure(partial(self.networks.encode, images, batch))
            flops = encoder_flops(self.networks.image_to_points.encoder, batch, self._grid.num_tokens)
            published = self._published.get("encode") if batch == max(self.work.encode_batches) else None
            yield self._row(f"encode, batch {batch}", run, flops, batch, published)

    def image_to_points(self) -> Iterator[SpeedRow]:
        """Seconds per window: the reference's pointmap alone, as the reconstruction uses it, then all pointmaps."""
        decoder, views = self.networks.image_to_points.decoder, self.work.window
        tokens = self._tokens[: 4 * views].unflatten(0, (4, views))
        for batch in (1, 4):
            part = tokens[:batch]
            run = self._measure(partial(self._local_pointmaps, part))
            flops = decoder_flops(decoder, 1, views - 1, self._grid.num_tokens, batch, want_sources=False)
            yield self._row(f"I2P window of {views}, reference only, batch {batch}", run, flops, batch)
        run = self._measure(partial(self.networks.window_pointmaps, tokens[:1], self._grid))
        flops = decoder_flops(decoder, 1, views - 1, self._grid.num_tokens)
        yield self._row(f"I2P window of {views}, all pointmaps", run, flops, 1, self._published.get("i2p window"))

    def retrieval(self) -> Iterator[SpeedRow]:
        """Seconds for all queries together, in the reconstruction's batches."""
        batch = ReconstructionSettings().window_batch
        candidates = self._tokens[: self.work.candidates]
        for count in self.work.queries:
            queries = self._tokens[self.work.candidates :][:count]
            run = self._measure(partial(self.networks.correlation, queries, candidates, self._grid, batch))
            batches = [min(batch, count - start) for start in range(0, count, batch)]
            flops = sum(self._correlation_flops(number) for number in batches)
            stage = f"retrieval, {count} of {len(candidates)}"
            yield self._row(stage, run, flops, None, self._published.get("retrieval") if count == 1 else None)

    def _local_pointmaps(self, windows: Tensor) -> Pointmaps:
        """Pointmaps of the first views of (B, V, N, E), with nothing computed before."""
        sources = self.networks.start_sources(windows[:, 1:].flatten(0, 1), self._grid).items(len(windows))
        return self.networks.local_pointmaps(windows[:, 0], sources, self._grid)

    def _correlation_flops(self, queries: int) -> int:
        return decoder_flops(
            self.networks.image_to_points.decoder,
            references=1,
            sources=self.work.candidates,
            tokens=self._grid.num_tokens,
            batch=queries,
            want_references=False,
            num_layers=CORRELATION_LAYERS,
            shared_sources=True,
        )

    def local_to_world(self) -> Iterator[SpeedRow]:
        """One registration of many frames."""
        references, sources, size = self.work.references, self.work.sources, self.work.image_size
        tokens = self._tokens[None, : references + sources]
        points = torch.rand(1, references + sources, size, size, 3, device=self.device)

        def register() -> Pointmaps:
            known = self.networks.start_references(tokens[0, :references], points[0, :references], self._grid)
            return self.networks.register(known, tokens[:, references:], points[:, references:], self._grid)

        run = self._measure(register)
        decoder = self.networks.local_to_world.decoder
        flops = decoder_flops(decoder, references, sources, self._grid.num_tokens, want_references=False)
        yield self._row(f"L2W {references} + {sources}", run, flops, sources, self._published.get("l2w"))

    def pipeline(self) -> Iterator[SpeedRow]:
        """A whole reconstruction; one run, as it takes long and repeats every network call many times."""
        frames = synthetic_frames(0, self.work.frames, self.work.image_size)
        meter, start = MemoryMeter(self.device), time.perf_counter()
        reconstructor = Reconstructor(self.networks, self.work.pipeline_settings())
        count = len(reconstructor.push(frames)) + len(reconstructor.flush())
        seconds = time.perf_counter() - start
        row = SpeedRow(self.name, self.dtype, f"pipeline, {count} frames", seconds, frames_per_second=count / seconds)
        row.peak_memory, row.published_seconds = peak_bytes(meter), self._published.get("pipeline")
        row.details = {"stage_seconds": reconstructor.timer.summary(), "stride": reconstructor.stride}
        yield row

    def flatness(self) -> Iterator[SpeedRow]:
        """Speed and memory early and late in a long video, whose frames are made as they are needed."""
        step = min(10, self.work.flat_span)
        for buffer_size in self.work.buffer_sizes:
            reconstructor = Reconstructor(self.networks, self.work.pipeline_settings(buffer_size=buffer_size))
            seconds, processor, frames = 0.0, 0.0, 0
            for first in range(0, max(self.work.flat_at) + self.work.flat_span, step):
                images = synthetic_frames(first, step, self.work.image_size)
                start, busy = time.perf_counter(), time.process_time()
                reconstructor.push(images)
                seconds, processor = seconds + time.perf_counter() - start, processor + time.process_time() - busy
                frames += step
                for at in self.work.flat_at:
                    if first < at + self.work.flat_span <= first + step:
                        buffered = len(reconstructor.buffered_frames)
                        yield self._flatness_row(at, buffer_size, seconds, processor / frames, frames, buffered)
                    if first < at <= first + step:  # the clock starts
                        seconds, processor, frames = 0.0, 0.0, 0

    def _flatness_row(
        self, at: int, buffer_size: int, seconds: float, processor: float, frames: int, buffered: int
    ) -> SpeedRow:
        row = SpeedRow(self.name, self.dtype, f"from frame {at}, buffer of {buffer_size}", seconds)
        row.frames_per_second = frames / seconds
        on_gpu = self.device.type == "cuda"
        row.peak_memory = torch.cuda.memory_allocated(self.device) if on_gpu else resident_memory()
        held = resident_memory() / 2**30
        note = f"{buffered} buffered; {held:.2f} GiB held, not peak; {processor:.3f} processor seconds a frame"
        row.details = {"buffered": buffered, "processor_seconds_per_frame": processor, "note": note}
        return row

    def _measure(self, function: Callable[[], object]) -> Measurement:
        return measure(function, self.device, self.work.repeats, peak=self.peak)

    def _row(
        self, stage: str, run: Measurement, flops: int, per: int | None, published: float | None = None
    ) -> SpeedRow:
        """A row whose time is per frame (encode) or window (I2P): of ``per`` of them; L2W counts frames only."""
        number = 1 if per is None or stage.startswith("L2W") else per
        row = SpeedRow(self.name, self.dtype, stage, run.seconds / number, flops // number)
        shares = run.shares_of_peak(flops)
        row.share_of_peak = statistics.median(shares) if shares else None
        row.frames_per_second = None if per is None else per / run.seconds
        row.peak_memory, row.published_seconds = run.peak_memory, published
        row.details = {"repeats": run.repeats, "best_seconds": run.best_seconds / number}
        row.details["slowest_seconds"] = max(run.all_seconds) / number
        if shares:
            row.details |= {"shares_of_peak": shares, "note": f"{min(shares):.0%} to {max(shares):.0%} of peak"}
        return row


class PrecisionProbe:
    """Both networks' pointmaps for fixed inputs: taken in float32 first, compared after the conversion."""

    def __init__(self, name: str, networks: Networks, work: Workload) -> None:
        self.name, self._networks = name, networks
        self._frames = synthetic_frames(0, work.window, work.image_size)
        self._references = min(work.references, work.window // 2)
        self._exact = self._run()

    def _run(self, points: Tensor | None = None) -> dict[str, Pointmaps]:
        """L2W reads ``points`` (I2P's own where None), so that its error excludes that of I2P."""
        tokens, grid = self._networks.encode(self._frames, 4)
        window = self._networks.window_pointmaps(tokens[None], grid)
        count = self._references
        points = window.points if points is None else points
        known = self._networks.start_references(tokens[:count], points[0, :count], grid)
        registered = self._networks.register(known, tokens[None, count:], points[:, count:], grid)
        return {"I2P": window, "L2W": registered}

    def compare(self, dtype: torch.dtype) -> Iterator[SpeedRow]:
        """Convert the networks, irreversibly, and yield the errors."""
        for network in (self._networks.image_to_points, self._networks.local_to_world):
            set_compute_dtype(network, dtype)
        for stage, actual in self._run(self._exact["I2P"].points).items():
            exact = self._exact[stage]
            distance = (actual.points - exact.points).norm(dim=-1) / exact.points.norm(dim=-1).clamp(min=1e-6)
            confidence = (actual.confidence / exact.confidence - 1).abs()
            errors = {
                "median_point_error": float(distance.median()),
                "mean_point_error": float(distance.mean()),
                "p99_point_error": float(distance.flatten().kthvalue(max(1, int(0.99 * distance.numel()))).values),
                "median_confidence_error": float(confidence.median()),
            }
            note = (
                f"median {errors['median_point_error']:.2%}, 99 of 100 under {errors['p99_point_error']:.2%} of depth"
            )
            row = SpeedRow(self.name, str(dtype).removeprefix("torch."), f"{stage} pointmap error to float32")
            row.details = {**errors, "note": note}
            yield row
