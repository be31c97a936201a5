"""Operations of a whole reconstruction by stage, counted without running the networks.

`CountedNetworks` answers the reconstructor in the shapes that it expects and adds up what the real networks would have
computed (`common.profiling.flops`): the schedule is the reconstructor's own, and any size takes seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import torch
from omegaconf import OmegaConf
from torch import Tensor

from common.backbone import PatchGrid, ViewStart
from common.backbone.attention import Memory
from common.configuration import config_folder, load_yaml
from common.errors import ConfigurationError
from common.profiling.flops import decoder_flops, encoder_flops, start_flops
from common.profiling.report import SpeedRow
from common.views import Pointmaps
from slam3r.models import ImageToPoints, LocalToWorld
from slam3r.models.description import Slam3rDescription
from slam3r.models.image_to_points import CORRELATION_LAYERS
from slam3r.reconstruction import Networks, ReconstructionSettings
from slam3r.reconstruction.between.start import start_reconstruction
from slam3r.reconstruction.settings import settings_for_model

Part = Literal["encode", "whole windows", "local pointmaps", "votes of neighbours", "retrieval", "registration"]
"""Whole windows are those of the stride search and of the founding, of which all pointmaps are used."""
_SIDE = 32
"""Pixels of the stand-in's pictures; the operations are those of `CountedNetworks.tokens`."""
_PUSHED = 10
_CONFIDENCE = 20.0
"""Confidence of every stand-in pointmap: above all thresholds, so that no frame is left out."""


class CountedNetworks(Networks):
    """The two networks' operations in place of the networks; their weights are never read."""

    def __init__(self, image_to_points: ImageToPoints, local_to_world: LocalToWorld, tokens: int) -> None:
        """
        Args:
            image_to_points, local_to_world: for their sizes; may be on the device ``meta``.
            tokens: patches of a picture.
        """
        self.image_to_points, self.local_to_world = image_to_points, local_to_world
        self.device, self.memory_chunk, self.tokens = torch.device("cpu"), None, tokens
        self.operations: Counter[Part] = Counter()

    def encode(self, images: Tensor, batch: int) -> tuple[Tensor, PatchGrid]:
        """See `Networks.encode`; a frame's tokens are one number."""
        self.operations["encode"] += encoder_flops(self.image_to_points.encoder, len(images), self.tokens)
        return torch.zeros(len(images), 1, 1), PatchGrid(1, 1)

    def window_pointmaps(self, tokens: Tensor, grid: PatchGrid) -> Pointmaps:
        """See `Networks.window_pointmaps`."""
        batch, views = tokens.shape[:2]
        decoder = self.image_to_points.decoder
        self.operations["whole windows"] += decoder_flops(decoder, 1, views - 1, self.tokens, batch)
        return _pointmaps(batch, views)

    def start_sources(self, tokens: Tensor, grid: PatchGrid) -> ViewStart:
        """See `Networks.start_sources`."""
        decoder = self.image_to_points.decoder
        self.operations["local pointmaps"] += start_flops(decoder, "source", len(tokens), self.tokens)
        return _started(len(tokens))

    def start_references(self, tokens: Tensor, points: Tensor, grid: PatchGrid) -> ViewStart:
        """See `Networks.start_references`."""
        decoder = self.local_to_world.decoder
        self.operations["registration"] += start_flops(decoder, "reference", len(tokens), self.tokens)
        return _started(len(tokens))

    def local_pointmaps(self, references: Tensor, sources: ViewStart, grid: PatchGrid) -> Pointmaps:
        """See `Networks.local_pointmaps`."""
        batch, views = len(references), sources.tokens.shape[1]
        self.operations["local pointmaps"] += self._window(batch, views, want_sources=False)
        return _pointmaps(batch)

    def neighbour_pointmaps(self, references: Tensor, sources: ViewStart, grid: PatchGrid) -> Pointmaps:
        """See `Networks.neighbour_pointmaps`."""
        batch, views = len(references), sources.tokens.shape[1]
        self.operations["votes of neighbours"] += self._window(batch, views, want_sources=True)
        return _pointmaps(batch, 1 + views)

    def correlation(self, queries: Tensor, candidates: Tensor | ViewStart, grid: PatchGrid, batch: int) -> Tensor:
        """See `Networks.correlation`; the candidates have been started."""
        count = candidates.tokens.shape[1] if isinstance(candidates, ViewStart) else len(candidates)
        decoder = self.image_to_points.decoder
        started = start_flops(decoder, "source", count, self.tokens)
        for first in range(0, len(queries), batch):
            items = min(batch, len(queries) - first)
            self.operations["retrieval"] -= started
            self.operations["retrieval"] += decoder_flops(
                decoder,
                references=1,
                sources=count,
                tokens=self.tokens,
                batch=items,
                want_references=False,
                num_layers=CORRELATION_LAYERS,
                shared_sources=True,
            )
        return torch.ones(count)

    def register(
        self, references: ViewStart, source_tokens: Tensor, source_points: Tensor, grid: PatchGrid
    ) -> Pointmaps:
        """See `Networks.register`."""
        batch, views = source_tokens.shape[:2]
        known, decoder = references.tokens.shape[1], self.local_to_world.decoder
        flops = decoder_flops(decoder, known, views, self.tokens, batch, want_references=False)
        self.operations["registration"] += flops - start_flops(decoder, "reference", batch * known, self.tokens)
        return _pointmaps(batch, views)

    def _window(self, batch: int, sources: int, want_sources: bool) -> int:
        """Operations of windows whose sources have been started."""
        decoder = self.image_to_points.decoder
        flops = decoder_flops(decoder, 1, sources, self.tokens, batch, want_sources=want_sources)
        return flops - start_flops(decoder, "source", batch * sources, self.tokens)


def count_operations(networks: CountedNetworks, settings: ReconstructionSettings, frames: int) -> Counter[Part]:
    """Operations of a reconstruction by part.

    Args:
        networks: of a size; its counter starts anew.
        settings: of the reconstruction. With a search for the stride, what it finds is not what pictures would give.
        frames: length of the sequence.
    """
    networks.operations = Counter()
    reconstructor = start_reconstruction(networks, settings)
    # A still film with corners: keyframes are as far apart as ``between.longest`` allows.
    picture = 2 * torch.rand(3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)) - 1
    for first in range(0, frames, _PUSHED):
        for _ in reconstructor.feed(picture.expand(min(_PUSHED, frames - first), -1, -1, -1)):
            pass
    for _ in reconstructor.drain():
        pass
    return networks.operations


def preset(model: Slam3rDescription, name: str, stride: int) -> ReconstructionSettings:
    """Settings of a file of ``configs/reconstruction`` for a model at a stride, whatever its thresholds.

    Where motion chooses the keyframes, they are as many frames apart as the stride.

    Raises:
        ConfigurationError: there is no such file, or it holds other settings.
    """
    file = config_folder() / "reconstruction" / f"{name}.yaml"
    if not file.is_file():
        raise ConfigurationError(f"workload.presets: there is no configs/reconstruction/{name}.yaml")
    raw = OmegaConf.to_container(load_yaml(file), resolve=False)
    assert isinstance(raw, dict)
    # Interpolations are thresholds of the model's confidence, which the stand-in is above.
    own = {str(key): value for key, value in raw.items() if not str(value).startswith("${")}
    spacing: dict[str, Any] = {"keyframe_stride": stride}
    if "between" in own:
        spacing = {"between": {**own["between"], "longest": stride}}
    return settings_for_model(model.confidence, model.reconstruction, {**own, **spacing, "initial_confidence": 0.0})


def operation_rows(
    size: str, networks: CountedNetworks, variants: dict[str, ReconstructionSettings], frames: int
) -> Iterator[SpeedRow]:
    """A row for each variant of the settings: TFLOP a frame, the share of every part, and the ratio to the first."""
    first: int | None = None
    for name, settings in variants.items():
        counted = count_operations(networks, settings, frames)
        total = counted.total()
        first = first or total
        shares = ", ".join(f"{part} {flops / total:.0%}" for part, flops in counted.items())
        row = SpeedRow(size, "", f"operations a frame, {name}, {frames} frames", flops=total // frames)
        note = f"{total / frames / 1e12:.3g} TFLOP, {first / total:.1f} times fewer ({shares})"
        row.details = {"by_part": dict(counted), "frames": frames, "note": note}
        yield row


def _pointmaps(*lead: int) -> Pointmaps:
    """Planes one unit in front of the cameras, seen at right angles."""
    across = torch.linspace(-0.5, 0.5, _SIDE)
    rows, columns = torch.meshgrid(across, across, indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).expand(*lead, _SIDE, _SIDE, 3)
    return Pointmaps(points, torch.full((*lead, _SIDE, _SIDE), _CONFIDENCE))


def _started(views: int) -> ViewStart:
    one = torch.zeros(1, views, 1, 1)
    return ViewStart(one, one, Memory(one, one))
