"""Model under test of SLAM3R's evaluations, with settings and device; loaded lazily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from common.configuration import to_dataclass
from common.device import choose_device, choose_dtype
from common.refinement.settings import Mode, RefinementSettings
from slam3r.models.description import Slam3rDescription
from slam3r.pretrained import LoadedSlam3r, load_model, place_networks
from slam3r.reconstruction import Networks, ReconstructionSettings


@dataclass(frozen=True)
class ModelUnderTestSettings:
    """The part of ``configs/evaluate.yaml`` that concerns the model under test."""

    model: Slam3rDescription
    reconstruction: ReconstructionSettings
    device: str
    dtype: str
    refinement: RefinementSettings = field(default_factory=RefinementSettings)


class ModelUnderTest:
    """A model with its settings, on its device."""

    def __init__(self, settings: ModelUnderTestSettings) -> None:
        """
        Raises:
            ConfigurationError: the device or dtype is not available.
        """
        self.settings = settings
        self.device = choose_device(settings.device)
        self.dtype = choose_dtype(self.device, settings.dtype)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelUnderTest:
        """Build from the whole configuration of an evaluation."""
        names = ("model", "reconstruction", "device", "dtype", "refinement")
        present = {name: config[name] for name in names if name in config}
        return cls(to_dataclass(present, ModelUnderTestSettings))

    @cached_property
    def loaded(self) -> LoadedSlam3r:
        """Both networks, on the CPU until `networks` is used."""
        return load_model(self.settings.model)

    @cached_property
    def networks(self) -> Networks:
        """The networks, ready to run."""
        return place_networks(self.loaded, self.device, self.dtype, self.settings.reconstruction.memory_chunk)

    def refinement(self, mode: Mode | None = None) -> RefinementSettings:
        """Settings of the refinement with a mode: the given one, or the user's, or what the model asks for."""
        settings = self.settings.refinement
        return replace(settings, mode=mode or settings.mode or self.settings.model.refinement)

    def describe(self) -> dict[str, Any]:
        """Everything that results depend on, as JSON values: weights with their revisions, settings and dtype.

        Settings that only trade memory for time (batch sizes) and the device are left out.
        """
        reconstruction = asdict(self.settings.reconstruction)
        for name in ("encode_batch", "window_batch", "memory_chunk"):
            reconstruction.pop(name, None)
        dtype = str(self.dtype).removeprefix("torch.")
        refinement = self.refinement()
        refined = {"mode": "off"} if refinement.mode == "off" else asdict(refinement)
        facts = {"model": self.loaded.provenance, "reconstruction": reconstruction, "dtype": dtype}
        return {**facts, "refinement": refined}

    def machine(self) -> str:
        """Name of the device."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
