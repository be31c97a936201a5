"""One run of the speed profile: peaks first, then every size in every dtype."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from common.checkpoints.hub import PretrainedModel
from common.checkpoints.location import CONFIG_NAME
from common.checkpoints.reading import read_model_config
from common.device import choose_device
from common.errors import ConfigurationError
from common.paths import shipped_path
from common.profiling.report import SpeedRow
from common.profiling.timing import (
    GPU_PRODUCT_SHAPES,
    PRODUCT_SHAPES,
    SMALL_PRODUCT_SHAPES,
    ProductProbe,
    product_peak,
)
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.pretrained import LoadedSlam3r, given_model, load_model, place_networks
from slam3r.profiling.operations import CountedNetworks, operation_rows, preset
from slam3r.profiling.settings import ProfileSettings, Workload
from slam3r.profiling.stages import QUICK, PrecisionProbe, SpeedBenchmark

NetworkT = TypeVar("NetworkT", bound=PretrainedModel)


@dataclass(frozen=True, kw_only=True)
class SpeedRun(ProfileSettings):
    """Runs the stages chosen in the settings."""

    @property
    def torch_device(self) -> torch.device:
        """Device to run on.

        Raises:
            ConfigurationError: the device is not available.
        """
        return choose_device(self.device)

    def rows(self) -> Iterator[SpeedRow]:
        """Measure; yields each row as soon as it is complete."""
        device = self.torch_device
        work = QUICK if self.quick else self.workload
        # float32 first: a model is converted in place.
        dtypes = sorted((getattr(torch, name) for name in self.dtypes), key=lambda dtype: dtype != torch.float32)
        peaks: dict[torch.dtype, ProductProbe] = {}
        if "peak" in self.stages:
            for dtype in dtypes:
                row, peaks[dtype] = self._peak(dtype, device)
                yield row
        for size in self.sizes:
            yield from self._size_rows(size, dtypes, peaks, device, work)

    def service_rows(self) -> Iterator[SpeedRow]:
        """Rows of the live service, with the weights that ``configs/model`` names; needs a broker.

        Raises:
            ConfigurationError: the extra is not installed.
        """
        try:
            from slam3r.profiling.service import service_rows
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{error.name} is missing: bash scripts/setup.sh service") from None
        work = replace(self.service, threads=self.service.threads or self.threads)
        for size in self.sizes:
            for dtype in self.dtypes:
                yield from service_rows(size, self.models[size], dtype, self.device, work)

    def _peak(self, dtype: torch.dtype, device: torch.device) -> tuple[SpeedRow, ProductProbe]:
        shapes = PRODUCT_SHAPES + (GPU_PRODUCT_SHAPES if device.type == "cuda" else ())
        shapes = SMALL_PRODUCT_SHAPES if self.quick else shapes
        peak = product_peak(dtype, device, shapes, 0.0 if self.quick else 0.5)
        row = SpeedRow("", str(dtype).removeprefix("torch."), "peak of matrix products", share_of_peak=1.0)
        note = "best shape " + " x ".join(map(str, peak.shape))
        row.details = {"flops_per_second": peak.flops, "by_shape": peak.by_shape, "note": note}
        return row, ProductProbe(dtype, device, peak.shape)

    def _size_rows(
        self,
        size: str,
        dtypes: list[torch.dtype],
        peaks: dict[torch.dtype, ProductProbe],
        device: torch.device,
        work: Workload,
    ) -> Iterator[SpeedRow]:
        if "operations" in self.stages:
            yield from self._operations(size, work)
        if not set(self.stages) - {"peak", "operations", "rasterizer", "service", "scoring"}:
            return
        # Built in float32 and converted by the probe, or by `Networks` as we go on to the next dtype.
        model = self._model(size)
        networks = place_networks(model, device, torch.float32)
        compare = "precision" in self.stages and torch.bfloat16 in dtypes
        probe = PrecisionProbe(size, networks, work) if compare else None
        for dtype in dtypes:
            if probe is not None and dtype != torch.float32:
                yield from probe.compare(dtype)
            networks = place_networks(model, device, dtype)
            benchmark = SpeedBenchmark(size, networks, dtype, peaks.get(dtype), work)
            for stage, run in benchmark.stages().items():
                if stage in self.stages and (stage != "flatness" or size in self.flatness_sizes):
                    yield from run()

    def _operations(self, size: str, work: Workload) -> Iterator[SpeedRow]:
        with torch.device("meta"):
            image_to_points, local_to_world = self._fresh_networks(size)
        patches = (work.image_size // image_to_points.config.patch_size) ** 2
        variants = {name: preset(self.models[size], name, work.stride) for name in work.presets}
        networks = CountedNetworks(image_to_points, local_to_world, patches)
        yield from operation_rows(size, networks, variants, work.frames)

    def _model(self, size: str) -> LoadedSlam3r:
        if self.weights == "pretrained":
            return load_model(self.models[size])
        return given_model(*self._fresh_networks(size))

    def _fresh_networks(self, size: str) -> tuple[ImageToPoints, LocalToWorld]:
        described = self.models[size]
        return (
            fresh_network(ImageToPoints, described.weights.image_to_points, described.sizes),
            fresh_network(LocalToWorld, described.weights.local_to_world, described.sizes),
        )


def fresh_network(kind: type[NetworkT], source: str, sizes: Mapping[str, Any]) -> NetworkT:
    """Build a network with random weights; nothing is downloaded.

    Args:
        kind: class of the network.
        source: weights whose sizes it gets, where they lie on this machine in our own format: the networks of one
            model may differ.
        sizes: for weights that are elsewhere.

    Raises:
        CheckpointError: the file with the sizes is damaged.
    """
    config = shipped_path(source) / CONFIG_NAME
    return kind.from_sizes(read_model_config(config, kind.__name__) if config.is_file() else sizes)
